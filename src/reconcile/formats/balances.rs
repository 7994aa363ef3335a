//! What the balances of statements prove: opening balance and bookings give the closing balance, and the next statement
//! of the account opens with it.
//!
//! Leaves the balance column of a table to `reading::roles`. Easy to get wrong: a statement with a line that could not be
//! read proves nothing, statements may stand newest first, and pending entries are in no booked balance.
use crate::amount::{self, DecimalStyle};
use crate::reading::{BalanceGap, BalanceProof, STATEMENTS};

/// Decimals of the sums; currencies have three at most.
const SCALE: u8 = 4;
/// Gaps that are named one by one.
const MAX_GAPS: usize = 1_000;

/// The balances of one statement, as they are met in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Balances {
    pub(super) account: String,
    pub(super) currency: String,
    opening: Option<i64>,
    /// What was booked; `None` when not all of it could be read.
    booked: Option<i64>,
    closing: Option<(i64, String)>,
    /// The lines (or numbers) where it opens and closes.
    lines: (u64, u64),
}

impl Balances {
    pub(super) fn of(account: &str) -> Self {
        Self { account: account.to_owned(), booked: Some(0), ..Self::default() }
    }

    /// The balance before the first booking; the first one that is given counts.
    pub(super) fn open(&mut self, line: u64, amount: &str, currency: &str) {
        if self.opening.is_none() {
            (self.opening, self.lines.0) = (units(amount), line);
            currency.clone_into(&mut self.currency);
        }
    }

    /// A signed amount that is part of the balance.
    pub(super) fn book(&mut self, amount: &str) {
        self.booked = self.booked.zip(units(amount)).and_then(|(sum, amount)| sum.checked_add(amount));
    }

    /// Something was booked that is not known.
    pub(super) fn book_unknown(&mut self) {
        self.booked = None;
    }

    pub(super) fn close(&mut self, line: u64, amount: &str) {
        (self.closing, self.lines.1) = (units(amount).map(|units| (units, amount.to_owned())), line);
    }
}

fn units(amount: &str) -> Option<i64> {
    amount::parse_either(amount, DecimalStyle::Point)?.at_scale(SCALE)
}

/// What the statements of a file prove together; `None` when none has both balances.
pub(super) fn prove(statements: &[Balances]) -> Option<BalanceProof> {
    let mut proof =
        BalanceProof { column: STATEMENTS.to_owned(), holds: 0, breaks: 0, first_break: None, gaps: Vec::new() };
    let mut gap = |line: u64, missing: i64, balance: &str| {
        if missing == 0 {
            proof.holds += 1;
            return;
        }
        proof.breaks += 1;
        if proof.gaps.len() < MAX_GAPS {
            let (missing, balance) = (shown(missing), balance.to_owned());
            proof.gaps.push(BalanceGap { line, missing, balance });
        }
    };
    for statement in statements {
        if let (Some(opening), Some(booked), Some((closing, text))) =
            (statement.opening, statement.booked, &statement.closing)
            && let Some(missing) = opening.checked_add(booked).and_then(|expected| closing.checked_sub(expected))
        {
            gap(statement.lines.1, missing, text);
        }
    }
    let mut by_account: Vec<&Balances> = statements.iter().collect();
    by_account.sort_by_key(|one| (&one.account, &one.currency));
    for one_account in by_account.chunk_by(|a, b| (&a.account, &a.currency) == (&b.account, &b.currency)) {
        let missing = |earlier: &Balances, later: &Balances| {
            let closing = earlier.closing.as_ref().map(|(closing, _)| *closing)?;
            later.opening?.checked_sub(closing)
        };
        let follow = |newest_first: bool| {
            let pairs = one_account.windows(2);
            pairs.map(move |pair| if newest_first { (pair[1], pair[0]) } else { (pair[0], pair[1]) })
        };
        let count = |newest| follow(newest).filter(|(a, b)| missing(a, b) == Some(0)).count();
        for (earlier, later) in follow(count(true) > count(false)) {
            // The same statement may stand in a file twice.
            let is_copy = earlier.opening == later.opening && earlier.closing == later.closing;
            if let Some(missing) = missing(earlier, later).filter(|missing| *missing != 0 && !is_copy) {
                gap(later.lines.0, missing, &shown(later.opening.unwrap_or(0)));
            }
        }
    }
    proof.gaps.sort_by_key(|gap| gap.line);
    proof.first_break = proof.gaps.first().map(|gap| format!("line {}, {} missing", gap.line, gap.missing));
    (proof.holds + proof.breaks > 0).then_some(proof)
}

/// With two decimals, unless there are more.
fn shown(units: i64) -> String {
    let text = amount::format(units, SCALE);
    let mut text = text.as_str();
    while text.ends_with('0') && text.len() - text.find('.').unwrap_or(text.len()) > 3 {
        text = &text[..text.len() - 1];
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(line: u64, opening: &str, booked: &[&str], closing: &str) -> Balances {
        let mut balances = Balances::of("1");
        balances.open(line, opening, "EUR");
        booked.iter().for_each(|amount| balances.book(amount));
        balances.close(line + 5, closing);
        balances
    }

    fn gaps(statements: &[Balances]) -> Vec<(u64, String)> {
        prove(statements).unwrap().gaps.into_iter().map(|gap| (gap.line, gap.missing)).collect()
    }

    #[test]
    fn a_closing_balance_follows_from_the_bookings() {
        let whole = statement(1, "10.00", &["2.5", "-1"], "11.50");
        assert_eq!(prove(&[whole]).map(|proof| (proof.holds, proof.breaks)), Some((1, 0)));
        assert_eq!(gaps(&[statement(1, "10.00", &["2.5"], "11.505")]), [(6, "-0.995".to_owned())]);
        let mut unread = statement(1, "10.00", &["2.5", "n/k"], "20");
        assert!(prove(&[unread.clone()]).is_none(), "what was not read may be what is missing");
        unread = Balances::of("1");
        assert!(prove(&[unread]).is_none());
    }

    #[test]
    fn the_next_statement_opens_with_the_balance_that_the_last_closed_with_in_either_order() {
        let months =
            [statement(1, "0", &["5"], "5"), statement(10, "5", &["5"], "10"), statement(20, "12.5", &[], "12.5")];
        assert_eq!(gaps(&months), [(20, "2.50".to_owned())]);
        let newest_first: Vec<Balances> = months.iter().rev().cloned().collect();
        assert_eq!(gaps(&newest_first), [(20, "2.50".to_owned())]);
        let twice = [months[0].clone(), months[0].clone(), months[1].clone()];
        assert_eq!(gaps(&twice), []);
        let mut other = months[2].clone();
        other.account = "2".to_owned();
        assert_eq!(gaps(&[months[0].clone(), other]), [], "another account has another balance");
    }
}
