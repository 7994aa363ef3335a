//! The floor of the comparison: one epoll thread, frames encoded once, non-blocking writes, no protocol above.
//!
//! `floor PORT direct` writes at once for each message and member; `floor PORT batch` gathers what one epoll round
//! brought, then makes one write per member. A member's room is its path. Easy to get wrong: it must do no more than
//! any server has to, or ratios to it flatter.
use sha1::{Digest, Sha1};
use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

struct Line {
    fd: i32,
    room: usize,
    open: bool,
    echo: bool,
    input: Vec<u8>,
    queue: VecDeque<Rc<Vec<u8>>>,
    written: usize,
    dirty: bool,
    armed: bool,
}

struct Floor {
    epoll: i32,
    batch: bool,
    lines: HashMap<i32, Line>,
    rooms: Vec<Vec<i32>>,
    names: HashMap<String, usize>,
    dirty: Vec<i32>,
    counter: u64,
}

fn encode(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        n @ 0..=125 => frame.push(n as u8),
        n => {
            frame.push(126);
            frame.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn accept_key(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head);
    let key = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map_or("", |(_, value)| value.trim());
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest)
}

fn send(fd: i32, bytes: &[u8]) -> isize {
    // SAFETY: the pointer and length are those of a live slice.
    unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) }
}

impl Floor {
    fn arm(&self, fd: i32, events: i32, operation: i32) {
        let mut event = libc::epoll_event { events: events as u32, u64: fd as u64 };
        // SAFETY: `event` lives for the call.
        unsafe { libc::epoll_ctl(self.epoll, operation, fd, &mut event) };
    }

    fn flush(&mut self, fd: i32) {
        let Some(mut line) = self.lines.remove(&fd) else { return };
        line.dirty = false;
        while !line.queue.is_empty() {
            let slices: Vec<libc::iovec> = line
                .queue
                .iter()
                .take(64)
                .enumerate()
                .map(|(index, bytes)| {
                    let bytes = if index == 0 { &bytes[line.written..] } else { &bytes[..] };
                    libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() }
                })
                .collect();
            let sent = match slices.as_slice() {
                [one] => send(fd, &line.queue[0][line.queue[0].len() - one.iov_len..]),
                // SAFETY: the slices point into frames that the queue keeps alive.
                many => unsafe { libc::writev(fd, many.as_ptr(), many.len() as i32) },
            };
            if sent < 0 {
                if !line.armed {
                    line.armed = true;
                    self.arm(fd, libc::EPOLLIN | libc::EPOLLOUT, libc::EPOLL_CTL_MOD);
                }
                self.lines.insert(fd, line);
                return;
            }
            let mut left = sent as usize;
            while left > 0 {
                let rest = line.queue[0].len() - line.written;
                if left >= rest {
                    left -= rest;
                    line.written = 0;
                    line.queue.pop_front();
                } else {
                    line.written += left;
                    left = 0;
                }
            }
        }
        if std::mem::take(&mut line.armed) {
            self.arm(fd, libc::EPOLLIN, libc::EPOLL_CTL_MOD);
        }
        self.lines.insert(fd, line);
    }

    fn publish(&mut self, room: usize, frame: Vec<u8>) {
        let frame = Rc::new(frame);
        for index in 0..self.rooms[room].len() {
            let fd = self.rooms[room][index];
            let Some(line) = self.lines.get_mut(&fd) else { continue };
            if !self.batch && line.queue.is_empty() {
                let sent = send(fd, &frame);
                if sent == frame.len() as isize {
                    continue;
                }
                line.written = sent.max(0) as usize;
                line.armed = true;
                line.queue.push_back(frame.clone());
                self.arm(fd, libc::EPOLLIN | libc::EPOLLOUT, libc::EPOLL_CTL_MOD);
                continue;
            }
            line.queue.push_back(frame.clone());
            if self.batch && !std::mem::replace(&mut line.dirty, true) {
                self.dirty.push(fd);
            }
        }
    }

    fn read(&mut self, fd: i32, buffer: &mut [u8]) {
        // SAFETY: the pointer and length are those of a live slice.
        let got = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
        if got <= 0 {
            if got < 0 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock {
                return;
            }
            if let Some(line) = self.lines.remove(&fd) {
                if line.open && !line.echo {
                    self.rooms[line.room].retain(|member| *member != fd);
                }
                // SAFETY: the descriptor is ours and is forgotten here.
                unsafe { libc::close(fd) };
            }
            return;
        }
        let Some(mut line) = self.lines.remove(&fd) else { return };
        line.input.extend_from_slice(&buffer[..got as usize]);
        if !line.open {
            self.open(&mut line);
        }
        let (room, echo) = (line.room, line.echo);
        let payloads = if line.open { frames(&mut line.input) } else { Vec::new() };
        self.lines.insert(fd, line);
        for payload in payloads {
            if echo {
                self.counter += 1;
                send(fd, &encode(format!("{{\"n\":{}}}", self.counter).as_bytes()));
            } else {
                self.publish(room, encode(&payload));
            }
        }
    }

    fn open(&mut self, line: &mut Line) {
        let Some(end) = memchr::memmem::find(&line.input, b"\r\n\r\n") else { return };
        let head: Vec<u8> = line.input.drain(..end + 4).collect();
        let path = String::from_utf8_lossy(&head[4..]).split(' ').next().unwrap_or_default().to_owned();
        let accept = accept_key(&head);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        send(line.fd, answer.as_bytes());
        line.open = true;
        line.echo = path == "/ask";
        if !line.echo {
            let next = self.rooms.len();
            line.room = *self.names.entry(path).or_insert(next);
            if line.room == next {
                self.rooms.push(Vec::new());
            }
            self.rooms[line.room].push(line.fd);
        }
    }
}

/// The payloads of all whole frames in `input`, unmasked.
fn frames(input: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while input.len() >= at + 6 {
        let bytes = &input[at..];
        let (head, length) = match bytes[1] & 127 {
            126 => (4, u16::from_be_bytes([bytes[2], bytes[3]]) as usize),
            short => (2, short as usize),
        };
        if bytes.len() < head + 4 + length {
            break;
        }
        let mask = [bytes[head], bytes[head + 1], bytes[head + 2], bytes[head + 3]];
        let masked = &bytes[head + 4..head + 4 + length];
        out.push(masked.iter().enumerate().map(|(index, byte)| byte ^ mask[index & 3]).collect());
        at += head + 4 + length;
    }
    input.drain(..at);
    out
}

fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("floor PORT direct|batch");
    let batch = std::env::args().nth(2).as_deref() == Some("batch");
    // SAFETY: plain system calls on descriptors made here; every pointer is to a live local.
    unsafe {
        let listener = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0);
        let one = 1i32;
        libc::setsockopt(listener, libc::SOL_SOCKET, libc::SO_REUSEADDR, (&raw const one).cast(), 4);
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as u16;
        address.sin_port = port.to_be();
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        assert_eq!(libc::bind(listener, (&raw const address).cast(), 16), 0, "port {port} is in use");
        libc::listen(listener, 4096);
        let epoll = libc::epoll_create1(0);
        let mut floor = Floor {
            epoll,
            batch,
            lines: HashMap::new(),
            rooms: Vec::new(),
            names: HashMap::new(),
            dirty: Vec::new(),
            counter: 0,
        };
        floor.arm(listener, libc::EPOLLIN, libc::EPOLL_CTL_ADD);
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
        let mut buffer = vec![0u8; 65536];
        loop {
            let count = libc::epoll_wait(epoll, events.as_mut_ptr(), 1024, -1).max(0) as usize;
            for event in events[..count].to_vec() {
                let fd = event.u64 as i32;
                if fd == listener {
                    loop {
                        let fd =
                            libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_NONBLOCK);
                        if fd < 0 {
                            break;
                        }
                        libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, (&raw const one).cast(), 4);
                        floor.arm(fd, libc::EPOLLIN, libc::EPOLL_CTL_ADD);
                        let line = Line {
                            fd,
                            room: 0,
                            open: false,
                            echo: false,
                            input: Vec::new(),
                            queue: VecDeque::new(),
                            written: 0,
                            dirty: false,
                            armed: false,
                        };
                        floor.lines.insert(fd, line);
                    }
                    continue;
                }
                if event.events & libc::EPOLLOUT as u32 != 0 {
                    floor.flush(fd);
                }
                if event.events & !(libc::EPOLLOUT as u32) != 0 {
                    floor.read(fd, &mut buffer);
                }
            }
            for fd in std::mem::take(&mut floor.dirty) {
                floor.flush(fd);
            }
        }
    }
}
