//! All connections in one epoll thread: connects, joins, checks every delivery.
//!
//! Easy to get wrong: a generator that is slower than the server measures itself, so a delivery costs a search and a
//! few additions.
use super::{
    host::now_ns,
    wire::{self, DIGITS, MARK, Proto},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

#[derive(Clone, Copy, PartialEq)]
enum State {
    Idle,
    Connecting,
    Upgrading,
    Joining,
    Ready,
    Closed,
}

pub struct Line {
    pub fd: i32,
    pub room: usize,
    state: State,
    next: Option<u64>,
    carry: Vec<u8>,
    asked_at: u64,
}

/// What the publisher sees of the receiver.
#[derive(Default)]
pub struct Seen {
    pub ready: AtomicU64,
    pub failed: AtomicU64,
    pub closed: AtomicU64,
    pub delivered: AtomicU64,
    pub asking: AtomicBool,
    pub stop: AtomicBool,
    pub measuring: AtomicBool,
}

#[derive(Default)]
pub struct Faults {
    pub lost: u64,
    pub repeated: u64,
    pub foreign: u64,
}

pub struct Receiver {
    pub proto: Proto,
    pub port: u16,
    pub projects: Vec<String>,
    pub lines: Vec<Line>,
    pub seen: Arc<Seen>,
    pub faults: Faults,
    pub latencies_us: Vec<u32>,
    pub reads: u64,
    /// A line that joins and then never reads.
    slow: Option<usize>,
    delivered: u64,
    epoll: i32,
    buffer: Vec<u8>,
}

pub fn send_all(fd: i32, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // SAFETY: the pointer and length are those of a live slice.
        let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        if sent < 0 {
            if std::io::Error::last_os_error().kind() != std::io::ErrorKind::WouldBlock {
                return false;
            }
            let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
            // SAFETY: one live pollfd.
            unsafe { libc::poll(&mut poll, 1, 1000) };
            continue;
        }
        bytes = &bytes[sent as usize..];
    }
    true
}

impl Receiver {
    /// `rooms` rooms of `members` each. With `slow`, two lines more, for a project more: one in the first room that never
    /// reads, and one in the last project's, which has nobody else.
    pub fn new(
        proto: Proto,
        port: u16,
        projects: Vec<String>,
        (rooms, members): (usize, usize),
        slow: bool,
        seen: Arc<Seen>,
    ) -> Self {
        let readers = rooms * members;
        let line = |index: usize| Line {
            fd: -1,
            room: if index > readers { rooms } else { index % rooms },
            state: State::Idle,
            next: None,
            carry: Vec::new(),
            asked_at: 0,
        };
        Self {
            proto,
            port,
            projects,
            lines: (0..readers + if slow { 2 } else { 0 }).map(line).collect(),
            seen,
            faults: Faults::default(),
            latencies_us: Vec::new(),
            reads: 0,
            slow: slow.then_some(readers),
            delivered: 0,
            // SAFETY: no pointers.
            epoll: unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) },
            buffer: vec![0; 512 * 1024],
        }
    }

    /// Connect all lines, at most `at_once` under way.
    pub fn connect_all(&mut self, at_once: usize, deadline_ns: u64) {
        let total = self.lines.len();
        let mut begun = 0;
        while now_ns() < deadline_ns {
            let done = (self.seen.ready.load(Relaxed) + self.seen.failed.load(Relaxed)) as usize;
            if done >= total {
                break;
            }
            while begun < total && begun < done + at_once {
                self.connect(begun);
                begun += 1;
            }
            self.turn(100);
        }
    }

    fn connect(&mut self, index: usize) {
        // SAFETY: plain system calls on a descriptor made here; every pointer is to a live local.
        unsafe {
            let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0);
            let one = 1i32;
            libc::setsockopt(fd, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, (&raw const one).cast(), 4);
            libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, (&raw const one).cast(), 4);
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), 8);
            let mut address: libc::sockaddr_in = std::mem::zeroed();
            address.sin_family = libc::AF_INET as u16;
            // Several source addresses: ten thousand connections need more ports than one has.
            address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 1, 2 + (index % 16) as u8]);
            libc::bind(fd, (&raw const address).cast(), 16);
            address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
            address.sin_port = self.port.to_be();
            let failed = libc::connect(fd, (&raw const address).cast(), 16) < 0;
            if failed && std::io::Error::last_os_error().raw_os_error() != Some(libc::EINPROGRESS) {
                libc::close(fd);
                self.lines[index].state = State::Closed;
                self.seen.failed.fetch_add(1, Relaxed);
                return;
            }
            self.lines[index].fd = fd;
            self.lines[index].state = State::Connecting;
            let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET | libc::EPOLLRDHUP) as u32;
            let mut event = libc::epoll_event { events, u64: index as u64 };
            libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, fd, &mut event);
        }
    }

    /// Wait for and handle events.
    pub fn turn(&mut self, timeout_ms: i32) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1024];
        // SAFETY: the array is live and its length is given.
        let count = unsafe { libc::epoll_wait(self.epoll, events.as_mut_ptr(), 1024, timeout_ms) }.max(0) as usize;
        for (handled, event) in events[..count].iter().enumerate() {
            self.handle(event.u64 as usize);
            if handled & 63 == 63 {
                self.seen.delivered.store(self.delivered, Relaxed);
            }
        }
        self.seen.delivered.store(self.delivered, Relaxed);
    }

    fn handle(&mut self, index: usize) {
        match self.lines[index].state {
            State::Idle | State::Closed => return,
            State::Connecting if self.proto.is_http() => self.ready(index),
            State::Connecting => {
                self.lines[index].state = State::Upgrading;
                let request = wire::handshake(self.proto, self.port, self.lines[index].room);
                if !send_all(self.lines[index].fd, &request) {
                    return self.close(index);
                }
            }
            _ => {}
        }
        loop {
            let kept = self.lines[index].carry.len();
            let carry = std::mem::take(&mut self.lines[index].carry);
            self.buffer[..kept].copy_from_slice(&carry);
            let space = &mut self.buffer[kept..];
            // SAFETY: the pointer and length are those of a live slice.
            let got =
                unsafe { libc::recv(self.lines[index].fd, space.as_mut_ptr().cast(), space.len(), libc::MSG_DONTWAIT) };
            self.reads += 1;
            if got <= 0 {
                let blocked = std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock;
                self.lines[index].carry = carry;
                if got == 0 || !blocked {
                    self.close(index);
                }
                return;
            }
            let full = got as usize == space.len();
            let buffer = std::mem::take(&mut self.buffer);
            let bytes = &buffer[..kept + got as usize];
            let used = self.consume(index, bytes);
            let mut carry = carry;
            carry.clear();
            carry.extend_from_slice(&bytes[used..]);
            self.lines[index].carry = carry;
            self.buffer = buffer;
            if !full || self.lines[index].state == State::Closed {
                return;
            }
        }
    }

    fn consume(&mut self, index: usize, bytes: &[u8]) -> usize {
        let mut at = 0;
        if self.lines[index].state == State::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return 0 };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                eprintln!("not upgraded: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
                self.close(index);
                return bytes.len();
            }
            at = end + 4;
            match wire::join(self.proto, &self.projects[self.lines[index].room]) {
                Some(join) => {
                    self.lines[index].state = State::Joining;
                    send_all(self.lines[index].fd, &join);
                }
                None => self.ready(index),
            }
        }
        let now = now_ns();
        if self.proto.is_http() {
            return self.responses(index, bytes, now);
        }
        loop {
            let rest = &bytes[at..];
            if rest.len() < 2 {
                return at;
            }
            let (head, length) = match rest[1] & 127 {
                126 if rest.len() < 4 => return at,
                126 => (4, u16::from_be_bytes([rest[2], rest[3]]) as usize),
                127 => panic!("a frame of more than 64 KiB is not expected"),
                short => (2, short as usize),
            };
            if rest.len() < head + length {
                return at;
            }
            let payload = &rest[head..head + length];
            match rest[0] & 15 {
                1 => self.text(index, payload, now),
                8 => {
                    eprintln!("closed: {}", String::from_utf8_lossy(payload));
                    self.close(index);
                    return bytes.len();
                }
                9 => {
                    send_all(self.lines[index].fd, &wire::frame(10, payload));
                }
                _ => {}
            }
            at += head + length;
        }
    }

    fn text(&mut self, index: usize, payload: &[u8], now: u64) {
        if self.lines[index].state == State::Joining {
            if memchr::memmem::find(payload, b"\"ProjectJoined\"").is_some() {
                self.ready(index);
            }
            return;
        }
        if self.lines[index].asked_at != 0 {
            return self.answered(index, payload, now);
        }
        let Some(mark) = memchr::memmem::find(payload, MARK) else { return };
        let digits = &payload[mark + MARK.len()..];
        if digits.len() < DIGITS {
            return;
        }
        let (sent, number) = (wire::get_hex(&digits[..16]), wire::get_hex(&digits[16..24]));
        let line = &mut self.lines[index];
        if wire::get_hex(&digits[24..28]) as usize != line.room {
            self.faults.foreign += 1;
        }
        match line.next {
            Some(next) if number < next => self.faults.repeated += 1,
            Some(next) => self.faults.lost += number - next,
            None => {}
        }
        line.next = Some(number + 1);
        self.delivered += 1;
        if self.seen.measuring.load(Relaxed) {
            self.latencies_us.push((now.saturating_sub(sent) / 1000) as u32);
        }
    }

    fn responses(&mut self, index: usize, bytes: &[u8], now: u64) -> usize {
        let mut at = 0;
        loop {
            match wire::response(&bytes[at..]) {
                Ok(Some(length)) => at += length,
                Ok(None) => return at,
                Err(head) => {
                    eprintln!("refused: {head}");
                    self.close(index);
                    return bytes.len();
                }
            }
            self.answered(index, &[], now);
        }
    }

    fn answered(&mut self, index: usize, payload: &[u8], now: u64) {
        let tieout = self.proto == Proto::TieoutAsk;
        if tieout && memchr::memmem::find(payload, b"\"re\":").is_none() {
            return;
        }
        self.delivered += 1;
        if self.seen.measuring.load(Relaxed) {
            self.latencies_us.push((now.saturating_sub(self.lines[index].asked_at) / 1000) as u32);
        }
        self.ask(index);
    }

    /// Send the next request of a line, if it is still time.
    pub fn ask(&mut self, index: usize) {
        self.lines[index].asked_at = 0;
        if self.seen.asking.load(Relaxed) {
            let line = &mut self.lines[index];
            line.asked_at = now_ns();
            let number = self.delivered + 2;
            send_all(line.fd, &wire::ask(self.proto, &self.projects[line.room], index, number));
        }
    }

    fn ready(&mut self, index: usize) {
        self.lines[index].state = State::Ready;
        self.seen.ready.fetch_add(1, Relaxed);
        if Some(index) == self.slow {
            // From here on nobody reads what it is sent.
            // SAFETY: the descriptor is ours and registered; no event is needed to remove it.
            unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_DEL, self.lines[index].fd, std::ptr::null_mut()) };
        }
    }

    fn close(&mut self, index: usize) {
        if self.lines[index].state != State::Ready {
            self.seen.failed.fetch_add(1, Relaxed);
        }
        self.lines[index].state = State::Closed;
        self.seen.closed.fetch_add(1, Relaxed);
        // SAFETY: the descriptor is ours and is not used again.
        unsafe { libc::close(self.lines[index].fd) };
    }
}
