//! Reads one client frame a line from standard input and prints what the parser made of it, or the error frame that answers it.
//! `echo '{"Ping":{},"id":7}' | cargo run -p tieout-protocol --example frames`
use std::io::{BufRead, stdin};

use tieout_protocol::{
    Head, ServerMessage, frame, parse,
    server::{self, ErrorBody},
};

fn main() -> std::io::Result<()> {
    for line in stdin().lock().lines() {
        let line = line?;
        match parse(&line) {
            Ok(read) => println!("request {:?}: {:?}", read.id, read.message),
            Err(bad) => {
                let body = ServerMessage::Error(ErrorBody::new(bad.code, &bad.text));
                let sent = server::encode(Head::reply(bad.id), &body);
                println!("{}", String::from_utf8_lossy(frame::payload(&sent)));
            }
        }
    }
    Ok(())
}
