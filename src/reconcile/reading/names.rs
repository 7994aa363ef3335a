//! What a header says about its column, in the words headers share across banks, ledgers and languages.
//!
//! A name is only a hint: values decide, and a hint tells between types that the values leave open. Easy to get
//! wrong: words are folded (`Käfer` is `kafer`), and languages that join words are met by their last part.
use crate::text;

/// What a header hints at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameHint {
    pub(crate) money: bool,
    pub(crate) date: bool,
    pub(crate) code: bool,
    pub(crate) currency: bool,
    pub(crate) person: bool,
    pub(crate) debit: bool,
    pub(crate) credit: bool,
    pub(crate) balance: bool,
}

const MONEY: &str = "amount amt amounts total price value sum net gross betrag betraege umsatz montant importe import importo bedrag \
    fee fees cost paid payment kwota belopp belob belop valor castka osszeg summa suma somme charge preis wert iznos tutar \
    montante quantia monto maara transactionamount tutari iznosa \
    金額 金额 금액";
const DEBIT: &str = "debit debits dr soll lastschrift belastung dare debe cargo cargos debet uttag ut ud af out withdrawal withdrawals \
    withdrawn ausgaben ausgabe ausgang sortie sorties saida saidas debito debitos wydatki obciazenie obciazenia winien dati terhelo \
    terheles charges spent expense expenses addebiti addebito uscite retiro retiros vydaj vydaje \
    udbetalt udbetaling haevet otto otot borc rashod raskhod islaidos 出金 支払 支出 借方 출금";
const CREDIT: &str = "credit credits cr haben gutschrift avere haber abono abonos kredit insattning inn ind bij in deposit deposits einnahmen \
    einnahme eingang entree entrees entrada entradas credito creditos wplywy uznanie uznania dal jovairas received income accrediti \
    accredito entrate deposito depositos prijem prijmy indbetalt indbetaling indsat pano panot alacak prihod prikhod pajamos \
    receipts 入金 預り 收入 贷方 貸方 입금";
const BALANCE: &str = "balance saldo solde kontostand saldot stand egyenleg zustatek zostatok bakiye sold ostatok likutis 残高 余额 餘額 잔액";
const DATE: &str = "date day datum fecha data booked posted valuta time timestamp dato dag pvm paiva datas wertstellung buchungstag tag dia \
    jour giorno created updated when 日付 日期 引日 易日";
const CODE: &str = "id no nr number code ref reference phone zip postcode iban account konto kontonummer telefon plz numero num key uuid";
const NOT_MONEY: &str = "date day id no number nr method type currency ref reference datum code ccy status text name";

impl NameHint {
    pub(crate) fn of(name: &str) -> Self {
        let mut words = Vec::new();
        text::tokens(&split_camel(name), |t| words.push(t.to_owned()));
        let any = |list: &str| words.iter().any(|w| list.split_whitespace().any(|known| known == w));
        let ends = |list: &[&str]| words.iter().any(|w| list.iter().any(|end| w.ends_with(end)));
        let balance = any(BALANCE) || ends(&["saldo", "balance"]);
        let date = any(DATE) || ends(&["datum", "date", "tag", "dato", "dag", "valuta", "paivamaara"]);
        // "Value date", "Amount currency": the last meaning wins.
        let other = any(NOT_MONEY) || (date && !any("valuta"));
        let credit = any(CREDIT) && !other;
        let debit = any(DEBIT) && !other;
        // One word of both is a flag ("Debit/Credit", "Af Bij", "Soll/Haben"), and no amount.
        let flag = debit && credit;
        Self {
            money: (any(MONEY) || balance || debit || credit || ends(&["betrag", "bedrag", "umsatz"]))
                && !other
                && !flag,
            date,
            code: any(CODE),
            currency: any(
                "currency ccy cur curr devise waehrung wahrung moneda valuta mena waluta penznem valuuta munt divisa",
            ),
            person: any("birth dob born birthday birthdate geburtsdatum geburtstag"),
            debit: debit && !flag,
            credit: credit && !flag,
            balance,
        }
    }
}

fn split_camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut lower = false;
    for c in name.chars() {
        if c.is_uppercase() && lower {
            out.push(' ');
        }
        lower = c.is_lowercase();
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_hints_at_its_column_in_the_languages_of_banks() {
        for name in ["Betrag (EUR)", "Montant", "Belopp", "Kwota", "paymentAmount", "Umsatz"] {
            assert!(NameHint::of(name).money, "{name}");
        }
        for name in ["Buchungstag", "value_date", "Bokføringsdag", "Valuta", "Data contabile"] {
            assert!(NameHint::of(name).date, "{name}");
        }
        assert!(!NameHint::of("payment_date").money && !NameHint::of("amount currency").money);
        assert!(NameHint::of("Paid out").debit && NameHint::of("Haben").credit);
        let flag = NameHint::of("Af Bij");
        assert!(!flag.money && !flag.debit && !flag.credit);
    }
}
