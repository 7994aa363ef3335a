//! The proxy of the fault tests does to connections what its modes say.
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::proxy::{Mode, Proxy};
use crate::support::{SHORT, within};

/// Answers each byte with the byte and its own name.
async fn server(name: u8) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(byte) = socket.read_u8().await {
                    if socket.write_all(&[byte, name]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap()
}

async fn ask(socket: &mut TcpStream) -> std::io::Result<u8> {
    socket.write_all(b"?").await?;
    answer(socket).await
}

async fn answer(socket: &mut TcpStream) -> std::io::Result<u8> {
    let mut both = [0; 2];
    within(SHORT, "the server's answer through the proxy", socket.read_exact(&mut both)).await?;
    assert_eq!(both[0], b'?');
    Ok(both[1])
}

#[tokio::test]
async fn what_is_sent_passes_and_latency_delays_each_way() {
    let proxy = Proxy::start(server(b'a').await);
    let mut socket = connect(&proxy).await;
    assert_eq!(ask(&mut socket).await.unwrap(), b'a');
    proxy.set(Mode::Latency(Duration::from_millis(100))).await;
    let asked = Instant::now();
    assert_eq!(ask(&mut socket).await.unwrap(), b'a');
    assert!(asked.elapsed() >= Duration::from_millis(200), "{:?}", asked.elapsed());
    proxy.set(Mode::Pass).await;
    // The end passes as well.
    socket.shutdown().await.unwrap();
    assert_eq!(within(SHORT, "the end", socket.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn nothing_moves_in_a_blackhole_and_all_arrives_after_it() {
    let proxy = Proxy::start(server(b'a').await);
    let mut before = connect(&proxy).await;
    assert_eq!(ask(&mut before).await.unwrap(), b'a');
    proxy.set(Mode::Blackhole).await;
    let mut during = connect(&proxy).await;
    for socket in [&mut before, &mut during] {
        socket.write_all(b"?").await.unwrap();
        let heard = tokio::time::timeout(Duration::from_millis(150), socket.read_u8()).await;
        assert!(heard.is_err(), "a blackhole gave {heard:?}");
    }
    proxy.set(Mode::Pass).await;
    assert_eq!(answer(&mut before).await.unwrap(), b'a');
    assert_eq!(answer(&mut during).await.unwrap(), b'a');
}

#[tokio::test]
async fn a_reset_breaks_what_is_open_and_serves_what_comes() {
    let proxy = Proxy::start(server(b'a').await);
    let mut socket = connect(&proxy).await;
    assert_eq!(ask(&mut socket).await.unwrap(), b'a');
    proxy.reset().await;
    assert_eq!(ask(&mut socket).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ask(&mut connect(&proxy).await).await.unwrap(), b'a');
}

#[tokio::test]
async fn nobody_listens_while_connections_are_refused() {
    let proxy = Proxy::start(server(b'a').await);
    let mut socket = connect(&proxy).await;
    assert_eq!(ask(&mut socket).await.unwrap(), b'a');
    proxy.set(Mode::Refuse).await;
    assert_eq!(ask(&mut socket).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let refused = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.set(Mode::Pass).await;
    assert_eq!(ask(&mut connect(&proxy).await).await.unwrap(), b'a');
}

#[tokio::test]
async fn after_a_switch_new_connections_reach_the_other_server() {
    let proxy = Proxy::start(server(b'a').await);
    let mut first = connect(&proxy).await;
    assert_eq!(ask(&mut first).await.unwrap(), b'a');
    proxy.switch(server(b'b').await).await;
    assert_eq!(ask(&mut connect(&proxy).await).await.unwrap(), b'b');
    assert_eq!(ask(&mut first).await.unwrap(), b'a');
}
