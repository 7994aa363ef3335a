//! One run against one server: connect, publish paced or with a window, check every delivery, print one JSON line.
//!
//! The figure to compare is server CPU per million deliveries. Easy to get wrong: warm-up deliveries must be drained
//! before the CPU clock starts.
mod host;
mod receiver;
mod wire;

use host::{cpu_seconds, now_ns, resident_bytes};
use receiver::{Receiver, Seen, send_all};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::sleep,
    time::Duration,
};
use wire::Proto;

struct Plan {
    members: usize,
    mode: String,
    rate: f64,
    window: u64,
    size: usize,
    warm: f64,
    seconds: f64,
    pid: i32,
}

struct Publisher {
    frames: Vec<(Vec<u8>, usize)>,
    fds: Vec<i32>,
    numbers: Vec<u64>,
    turn: usize,
    published: u64,
}

impl Publisher {
    fn publish(&mut self) {
        let room = self.turn;
        self.turn = (room + 1) % self.frames.len();
        let (frame, at) = &mut self.frames[room];
        wire::put_hex(&mut frame[*at..*at + 16], now_ns());
        wire::put_hex(&mut frame[*at + 16..*at + 24], self.numbers[room]);
        self.numbers[room] += 1;
        self.published += 1;
        send_all(self.fds[room], frame);
    }

    fn run(&mut self, plan: &Plan, seconds: f64, seen: &Seen) {
        let begin = now_ns();
        let end = begin + (seconds * 1e9) as u64;
        let mut count = 0u64;
        while now_ns() < end {
            if plan.mode == "paced" {
                let due = begin + (count as f64 * 1e9 / plan.rate) as u64;
                sleep(Duration::from_nanos(due.saturating_sub(now_ns())));
                self.publish();
                count += 1;
            } else {
                let arrived = seen.delivered.load(Relaxed) / plan.members as u64;
                if self.published < arrived + plan.window {
                    self.publish();
                } else {
                    sleep(Duration::from_micros(30));
                }
            }
        }
        let wanted = self.published * plan.members as u64;
        let patience = now_ns() + 10_000_000_000;
        while seen.delivered.load(Relaxed) < wanted && now_ns() < patience {
            sleep(Duration::from_micros(200));
        }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> = words
        .chunks(2)
        .filter(|pair| pair.len() == 2)
        .map(|pair| (pair[0].trim_start_matches("--"), pair[1].as_str()))
        .collect();
    let text = |name: &str, default: &str| options.get(name).map_or(default, |text| *text).to_owned();
    let number = |name: &str, default: f64| options.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let proto = match text("proto", "raw").as_str() {
        "raw" => Proto::Raw,
        "raw-ask" => Proto::RawAsk,
        "tieout" => Proto::Tieout,
        "tieout-ask" => Proto::TieoutAsk,
        "tieout-upgrade" => Proto::TieoutUpgrade,
        "post-inc" => Proto::PostInc,
        other => panic!("unknown proto {other}"),
    };
    let rooms = number("rooms", 1.0) as usize;
    let projects = match text("projects-file", "").as_str() {
        "" => (0..rooms).map(|room| format!("r{room}")).collect(),
        file => {
            std::fs::read_to_string(file).expect("the projects file").lines().map(str::to_owned).collect::<Vec<_>>()
        }
    };
    // One that does not read, and a project through which its queue is filled.
    let slow = number("slow", 0.0) > 0.0;
    assert_eq!(projects.len(), rooms + usize::from(slow), "one project a room");
    let plan = Plan {
        members: number("members", 100.0) as usize,
        mode: text("mode", "paced"),
        rate: number("rate", 20.0),
        window: number("window", 32.0) as u64,
        size: number("size", 100.0) as usize,
        warm: number("warm", 1.0),
        seconds: number("seconds", 4.0),
        pid: number("pid", 0.0) as i32,
    };
    let seen = Arc::new(Seen::default());
    let resident_before = resident_bytes(plan.pid);
    let cpu_before = cpu_seconds(plan.pid, None);
    let mut receiver =
        Receiver::new(proto, number("port", 0.0) as u16, projects, (rooms, plan.members), slow, seen.clone());
    receiver.connect_all(number("at-once", 128.0) as usize, now_ns() + 60_000_000_000);
    let ready = seen.ready.load(Relaxed);
    let handshake_us = (cpu_seconds(plan.pid, None) - cpu_before) * 1e6 / ready.max(1) as f64;
    let fds = (0..rooms).map(|room| receiver.lines[room].fd).collect();
    let mut projects = receiver.projects.clone();
    let stuffing = slow.then(|| {
        let side = projects.pop().expect("the project more");
        let [deaf, stuffer] = [0, 1].map(|more| receiver.lines[rooms * plan.members + more].fd);
        send_all(deaf, &wire::join(proto, &side).expect("a protocol with rooms"));
        (stuffer, wire::stuffing(&side))
    });
    let asking = matches!(proto, Proto::RawAsk | Proto::TieoutAsk) || proto.is_http();
    let stop = seen.clone();
    let thread = std::thread::spawn(move || {
        let mut asked = false;
        while !stop.stop.load(Relaxed) {
            if !asked && stop.asking.load(Relaxed) {
                asked = true;
                (0..receiver.lines.len()).for_each(|index| receiver.ask(index));
            }
            receiver.turn(20);
        }
        receiver
    });
    sleep(Duration::from_secs_f64(number("settle", 1.5)));
    let idle_bytes = (resident_bytes(plan.pid) as f64 - resident_before as f64) / ready.max(1) as f64;
    if let Some((stuffer, frame)) = stuffing {
        // More than any kernel holds for a connection and the server's queue for it together.
        for _ in 0..400 {
            send_all(stuffer, &frame);
            // At a pace, so that the process grows by the queue and not by the burst.
            sleep(Duration::from_millis(2));
        }
        sleep(Duration::from_secs_f64(number("settle", 1.5)));
    }
    let mut publisher = Publisher {
        frames: projects
            .iter()
            .enumerate()
            .map(|(room, project)| wire::event(proto, project, room, plan.size))
            .collect(),
        fds,
        numbers: vec![0; rooms],
        turn: 0,
        published: 0,
    };
    if asking {
        seen.asking.store(true, Relaxed);
        sleep(Duration::from_secs_f64(plan.warm));
    } else if plan.mode != "none" {
        publisher.run(&plan, plan.warm, &seen);
    }
    let from = seen.delivered.load(Relaxed);
    let published_before = publisher.published;
    let (cpu, actor) = (cpu_seconds(plan.pid, None), cpu_seconds(plan.pid, Some("actix-rt")));
    let begin = now_ns();
    seen.measuring.store(true, Relaxed);
    if asking {
        sleep(Duration::from_secs_f64(plan.seconds));
    } else if plan.mode != "none" {
        publisher.run(&plan, plan.seconds, &seen);
    }
    seen.measuring.store(false, Relaxed);
    let elapsed = (now_ns() - begin) as f64 / 1e9;
    let delivered = seen.delivered.load(Relaxed) - from;
    let cpu = cpu_seconds(plan.pid, None) - cpu;
    let actor = cpu_seconds(plan.pid, Some("actix-rt")) - actor;
    let published = publisher.published - published_before;
    let resident = resident_bytes(plan.pid);
    let loaded_bytes = (resident as f64 - resident_before as f64) / ready.max(1) as f64;
    seen.asking.store(false, Relaxed);
    sleep(Duration::from_millis(100));
    seen.stop.store(true, Relaxed);
    let mut receiver = thread.join().expect("the receiver does not panic");
    receiver.latencies_us.sort_unstable();
    let at = |share: f64| {
        let index = ((receiver.latencies_us.len() as f64 * share) as usize).min(receiver.latencies_us.len().max(1) - 1);
        receiver.latencies_us.get(index).copied().unwrap_or(0)
    };
    let missing = if asking { 0 } else { (published * plan.members as u64).saturating_sub(delivered) };
    println!(
        concat!(
            "{{\"ready\":{},\"failed\":{},\"closed\":{},\"published\":{},\"delivered\":{},\"missing\":{},\"lost\":{},\"repeated\":{},\"foreign\":{},",
            "\"seconds\":{:.2},\"per_second\":{:.0},\"cpu_per_million\":{:.3},\"actor_us_per_publish\":{:.2},\"p50_us\":{},\"p99_us\":{},",
            "\"reads_per_delivery\":{:.3},\"handshake_us\":{:.1},\"idle_bytes\":{:.0},\"loaded_bytes\":{:.0},\"resident_kb\":{}}}"
        ),
        ready,
        seen.failed.load(Relaxed),
        seen.closed.load(Relaxed),
        published,
        delivered,
        missing,
        receiver.faults.lost,
        receiver.faults.repeated,
        receiver.faults.foreign,
        elapsed,
        delivered as f64 / elapsed,
        cpu * 1e6 / delivered.max(1) as f64,
        actor * 1e6 / published.max(1) as f64,
        at(0.5),
        at(0.99),
        receiver.reads as f64 / delivered.max(1) as f64,
        handshake_us,
        idle_bytes,
        loaded_bytes,
        resident / 1024,
    );
}
