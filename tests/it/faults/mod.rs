//! Faults under load, one test each: what a client is told, what the ledger says, how long until it works again. Every test
//! files a row of docs/RELIABILITY.md; `./test faults` runs them one at a time and puts the table there.
//! Easy to get wrong: a fault that hits nothing; each test checks that the fault was felt.
mod clocks;
mod load;
mod pair;
mod postgres;
mod presence;
mod redis;
mod replica;
mod rolling;
mod silence;
