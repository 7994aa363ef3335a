//! Payment events, and what a ledger and a bank write of each.
//!
//! Of the events 2 % stand in the ledger only and 2 % at the bank only; 1 % are splits (half of them one ledger row to 2 to 4
//! bank rows, half the reverse; amounts add up exactly); 1 % of rows stand twice on one side; the bank's date is 0 to 3 days
//! later; 1 % of one-to-one bank amounts are net of a fee; 40 % of amounts are common ones, so that they collide.
//! Easy to get wrong: the order of random numbers is the format; a change of it makes other files from the same seed.
use super::random::Random;
use super::vocabulary::{ALPHABET, CHANNELS, CURRENCIES, FIRST, LEGAL, MEMOS, SECOND};

/// What to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Payment events; each side has about as many rows.
    pub events: usize,
    /// The same seed makes the same files.
    pub seed: u64,
    /// Days over which the events are spread: fewer make more collisions.
    pub days: usize,
}

/// A row of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LedgerRow {
    /// `L0000001` and on, in the order of the file.
    pub id: String,
    /// Days since 1970-01-01.
    pub day: i32,
    /// Cents.
    pub amount: i64,
    /// ISO 4217.
    pub currency: &'static str,
    /// Invoice or order.
    pub reference: String,
    /// Name as the ledger writes it.
    pub counterparty: String,
    /// Free text.
    pub memo: String,
}

/// A row of the bank statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BankRow {
    /// `B0000001` and on; the file is shuffled.
    pub id: String,
    /// Days since 1970-01-01.
    pub day: i32,
    /// Cents.
    pub amount: i64,
    /// ISO 4217.
    pub currency: &'static str,
    /// Channel, name and reference, as far as the bank kept them.
    pub description: String,
}

/// A pair that belongs together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TruePair {
    /// The ledger row.
    pub ledger: String,
    /// The bank row.
    pub bank: String,
    /// `one_to_one`, `one_to_one_fee`, `one_to_many` or `many_to_one`.
    pub kind: &'static str,
    /// The number that the pairs of one split share.
    pub group: Option<u32>,
}

/// A row without a counterpart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lonely {
    /// `ledger` or `bank`.
    pub side: &'static str,
    /// The row.
    pub id: String,
    /// `missing_in_bank`, `missing_in_ledger` or `duplicate`.
    pub kind: &'static str,
    /// Of a duplicate: the row it repeats.
    pub of: String,
}

/// Everything that one plan makes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dataset {
    /// The ledger, in order of events.
    pub ledger: Vec<LedgerRow>,
    /// The bank statement, shuffled.
    pub bank: Vec<BankRow>,
    /// The true pairs.
    pub truth: Vec<TruePair>,
    /// The rows that must stay alone.
    pub breaks: Vec<Lonely>,
}

/// 2024-01-01.
const FIRST_DAY: i32 = 19_723;

struct Party {
    ledger: String,
    bank: String,
}

struct Maker {
    random: Random,
    prices: Vec<i64>,
    parties: Vec<Party>,
    made: Dataset,
    bank_rows: usize,
    groups: u32,
}

#[derive(Clone)]
struct Event {
    day: usize,
    amount: i64,
    currency: &'static str,
    party: usize,
    reference: String,
}

/// Makes both files and the truth. Memory grows with the events: about 400 bytes each.
pub fn generate(plan: Plan) -> Dataset {
    let mut maker = Maker::new(plan);
    for number in 0..plan.events {
        maker.event(number, plan.days.max(1));
    }
    let Maker { mut random, mut made, .. } = maker;
    // The order of the bank's rows says nothing.
    for last in (1..made.bank.len()).rev() {
        let other = random.below(last + 1);
        made.bank.swap(last, other);
    }
    made
}

impl Maker {
    fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed);
        let prices = (0..200).map(|_| 100 * (1 + random.below(300)) as i64 - random.pick(&[1, 1, 5, 10, 50])).collect();
        let parties = (0..50.max(plan.events / 50)).map(|_| Party::new(&mut random)).collect();
        Self { random, prices, parties, made: Dataset::default(), bank_rows: 0, groups: 0 }
    }

    fn event(&mut self, number: usize, days: usize) {
        let share = self.random.below(1000);
        let day = self.random.below(days);
        let amount = self.amount();
        let currency = self.currency();
        let party = self.random.below(self.parties.len());
        let reference = self.reference(number);
        let event = Event { day, amount, currency, party, reference };
        match share {
            0..20 => {
                let id = self.ledger(&event, day, amount, None);
                self.lonely("ledger", id, "missing_in_bank", String::new());
            }
            20..40 => {
                let day = day + self.drift();
                let id = self.bank(&event, day, amount);
                self.lonely("bank", id, "missing_in_ledger", String::new());
            }
            40..45 => self.one_to_many(&event),
            45..50 => self.many_to_one(&event, number),
            _ => self.one_to_one(&event),
        }
    }

    fn one_to_many(&mut self, event: &Event) {
        let ledger = self.ledger(event, event.day, event.amount, None);
        self.groups += 1;
        let count = 2 + self.random.below(3);
        let mut cuts: Vec<i64> = (1..count).map(|_| 1 + self.random.below(event.amount as usize - 1) as i64).collect();
        cuts.sort_unstable();
        let edges: Vec<i64> = std::iter::once(0).chain(cuts).chain([event.amount]).collect();
        for part in edges.windows(2).map(|edge| edge[1] - edge[0]).filter(|part| *part > 0) {
            let day = event.day + self.drift();
            let bank = self.bank(event, day, part);
            self.pair(ledger.clone(), bank, "one_to_many", Some(self.groups));
        }
    }

    fn many_to_one(&mut self, event: &Event, number: usize) {
        let count = 2 + self.random.below(3);
        let amounts: Vec<i64> = (0..count).map(|_| self.amount()).collect();
        self.groups += 1;
        let day = event.day + self.drift();
        let bank = self.bank(event, day, amounts.iter().sum());
        for (at, amount) in amounts.into_iter().enumerate() {
            let day = event.day.saturating_sub(self.random.below(3));
            let other = (at > 0).then(|| self.reference(number + at));
            let ledger = self.ledger(event, day, amount, other);
            self.pair(ledger, bank.clone(), "many_to_one", Some(self.groups));
        }
    }

    fn one_to_one(&mut self, event: &Event) {
        let fee = if self.random.below(100) == 0 { 1 + self.random.below(2500) as i64 } else { 0 };
        let ledger = self.ledger(event, event.day, event.amount, None);
        let day = event.day + self.drift();
        let bank = self.bank(event, day, (event.amount - fee).max(1));
        let kind = if fee == 0 { "one_to_one" } else { "one_to_one_fee" };
        self.pair(ledger.clone(), bank.clone(), kind, None);
        match self.random.below(200) {
            0 => {
                let row = self.made.ledger.last().expect("an event wrote its row").clone();
                let id = format!("L{:07}", self.made.ledger.len() + 1);
                self.made.ledger.push(LedgerRow { id: id.clone(), ..row });
                self.lonely("ledger", id, "duplicate", ledger);
            }
            1 => {
                let row = self.made.bank.last().expect("an event wrote its row").clone();
                self.bank_rows += 1;
                let id = format!("B{:07}", self.bank_rows);
                self.made.bank.push(BankRow { id: id.clone(), ..row });
                self.lonely("bank", id, "duplicate", bank);
            }
            _ => {}
        }
    }

    fn pair(&mut self, ledger: String, bank: String, kind: &'static str, group: Option<u32>) {
        self.made.truth.push(TruePair { ledger, bank, kind, group });
    }

    fn lonely(&mut self, side: &'static str, id: String, kind: &'static str, of: String) {
        self.made.breaks.push(Lonely { side, id, kind, of });
    }

    /// 60 % log-normal, 25 % from a price list, 15 % round hundreds.
    fn amount(&mut self) -> i64 {
        let share = self.random.unit();
        if share < 0.60 {
            let radius = (-2.0 * (1.0 - self.random.unit()).ln()).sqrt();
            let normal = radius * (2.0 * std::f64::consts::PI * self.random.unit()).cos();
            return (((5.5 + 1.5 * normal).exp() * 100.0) as i64).max(100);
        }
        if share < 0.85 {
            return *self.random.pick(&self.prices);
        }
        10_000 * (1 + self.random.below(50)) as i64
    }

    fn currency(&mut self) -> &'static str {
        let mut at = self.random.below(CURRENCIES.iter().map(|(_, share)| share).sum());
        for (currency, share) in CURRENCIES {
            if at < *share {
                return currency;
            }
            at -= share;
        }
        CURRENCIES[0].0
    }

    /// 45 % on the day, 30 % a day later, 15 % two, 10 % three.
    fn drift(&mut self) -> usize {
        match self.random.below(100) {
            0..45 => 0,
            45..75 => 1,
            75..90 => 2,
            _ => 3,
        }
    }

    fn reference(&mut self, number: usize) -> String {
        match self.random.below(10) {
            0..6 => format!("INV-2024-{:06}", number % 1_000_000),
            6..8 => format!("PO{:07}", self.random.below(10_000_000)),
            8 => {
                let order = self.random.below(100_000);
                format!("SO/{order:05}/{:02}", self.random.below(100))
            }
            _ => (0..10).map(|_| char::from(*self.random.pick(ALPHABET))).collect(),
        }
    }

    fn ledger(&mut self, event: &Event, day: usize, amount: i64, reference: Option<String>) -> String {
        let reference = reference.unwrap_or_else(|| event.reference.clone());
        let id = format!("L{:07}", self.made.ledger.len() + 1);
        let with_reference = self.random.below(2) > 0;
        let memo = *self.random.pick(MEMOS);
        self.made.ledger.push(LedgerRow {
            id: id.clone(),
            day: FIRST_DAY + day as i32,
            amount,
            currency: event.currency,
            memo: if with_reference { format!("{memo} {reference}") } else { memo.to_owned() },
            reference,
            counterparty: self.parties[event.party].ledger.clone(),
        });
        id
    }

    fn bank(&mut self, event: &Event, day: usize, amount: i64) -> String {
        self.bank_rows += 1;
        let id = format!("B{:07}", self.bank_rows);
        let description = self.bank_text(event);
        self.made.bank.push(BankRow {
            id: id.clone(),
            day: FIRST_DAY + day as i32,
            amount,
            currency: event.currency,
            description,
        });
        id
    }

    /// The name 75 % whole, 10 % with a typo, 10 % cut off, 5 % absent; the reference 55 % whole, 15 % in another form, 10 %
    /// with a typo, 8 % cut off, 12 % absent.
    fn bank_text(&mut self, event: &Event) -> String {
        let name = &self.parties[event.party].bank;
        let name = match self.random.below(100) {
            95.. => String::new(),
            85..95 => name[..name.len().min(18)].to_owned(),
            75..85 => typo(&mut self.random, name),
            _ => name.clone(),
        };
        let reference = &event.reference;
        let reference = match self.random.below(100) {
            0..55 => reference.clone(),
            55..70 => match self.random.below(3) {
                0 => reference.replace(['-', '/'], ""),
                1 => reference.replace(['-', '/'], " ").to_lowercase(),
                _ => reference.replace("-0", "-").replace("2024-", "24-"),
            },
            70..80 => typo(&mut self.random, reference),
            80..88 => {
                let cut = 2 + self.random.below(4);
                let keep = reference.len().saturating_sub(cut).max(4);
                reference[..keep.min(reference.len())].to_owned()
            }
            _ => String::new(),
        };
        let channel = if self.random.below(3) > 0 { *self.random.pick(CHANNELS) } else { "" };
        let parts: Vec<&str> = [channel, &name, &reference].into_iter().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() { "TRANSFER".to_owned() } else { parts.join(" ") }
    }
}

impl Party {
    fn new(random: &mut Random) -> Self {
        let first = *random.pick(FIRST);
        let second = *random.pick(SECOND);
        let (form, bank_form) = *random.pick(LEGAL);
        let extra = if random.below(4) == 0 { format!(" {}", random.pick(SECOND)) } else { String::new() };
        let name = format!("{first} {second}{extra}");
        Self { ledger: format!("{} {form}", title(&name)), bank: format!("{name} {bank_form}") }
    }
}

fn title(name: &str) -> String {
    let words = name.split(' ').map(|word| format!("{}{}", &word[..1], word[1..].to_lowercase()));
    words.collect::<Vec<_>>().join(" ")
}

/// One letter replaced, left out, swapped with the next, or put in. The text is ASCII.
fn typo(random: &mut Random, text: &str) -> String {
    if text.len() < 3 {
        return text.to_owned();
    }
    let at = random.below(text.len() - 1);
    let mut out = text.to_owned();
    match random.below(4) {
        0 => out.replace_range(at..=at, &char::from(*random.pick(ALPHABET)).to_string()),
        1 => drop(out.remove(at)),
        2 => {
            let letter = out.remove(at);
            out.insert(at + 1, letter);
        }
        _ => out.insert(at, char::from(*random.pick(ALPHABET))),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_files_and_splits_add_up() {
        let plan = Plan { events: 2_000, seed: 7, days: 31 };
        let made = generate(plan);
        assert_eq!(made, generate(plan));
        assert_ne!(made, generate(Plan { seed: 8, ..plan }));
        let amount = |id: &str| {
            let ledger = made.ledger.iter().find(|row| row.id == id).map(|row| row.amount);
            ledger.or_else(|| made.bank.iter().find(|row| row.id == id).map(|row| row.amount)).unwrap()
        };
        let groups: std::collections::BTreeSet<_> = made.truth.iter().filter_map(|pair| pair.group).collect();
        assert!(groups.len() > 5);
        for group in groups {
            let pairs: Vec<_> = made.truth.iter().filter(|pair| pair.group == Some(group)).collect();
            let one = |ids: Vec<&str>| {
                let ids: std::collections::BTreeSet<_> = ids.into_iter().collect();
                ids.into_iter().map(amount).sum::<i64>()
            };
            let (ledger, bank) = (
                one(pairs.iter().map(|pair| pair.ledger.as_str()).collect()),
                one(pairs.iter().map(|pair| pair.bank.as_str()).collect()),
            );
            assert_eq!(ledger, bank, "group {group}");
        }
    }

    #[test]
    fn the_first_rows_of_seed_42_are_as_published() {
        let made = generate(Plan { events: 10_000, seed: 42, days: 365 });
        let first = &made.ledger[0];
        assert_eq!(
            (first.amount, first.currency, first.reference.as_str(), first.counterparty.as_str(), first.memo.as_str()),
            (371_568, "EUR", "INV-2024-000000", "Sage Hotels AG", "Subscription INV-2024-000000")
        );
        let first = &made.bank[0];
        assert_eq!(
            (first.id.as_str(), first.amount, first.currency, first.description.as_str()),
            ("B0004572", 220_000, "EUR", "ACH CREDIT HPOLAR BAKERY B.V.")
        );
        assert_eq!(made.truth.last().unwrap().bank, made.bank.iter().map(|row| &row.id).max().unwrap().as_str());
    }
}
