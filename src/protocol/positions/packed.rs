//! Many positions in few bytes: what is the same as in the entry before is left out, the rest is base64.
//!
//! An entry: how many bytes of the project's id are those of the one before, the others, the epoch, the offset. Easy to
//! get wrong: it comes back from outside, maybe cut short, so reading stops where it makes no sense.
use super::{MAX_EPOCH_BYTES, MAX_POSITIONS};
use crate::{client::Position, ids::ProjectId};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The letters of an epoch as the store makes them, six of five bits.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const SHORT: usize = 6;
/// First byte of an epoch: these bits for a short one, this for the one before, else its length.
const IS_SHORT: u32 = 0xC000_0000;
const SAME: u8 = 0x80;

pub(super) fn pack(positions: &BTreeMap<ProjectId, Position>) -> String {
    let mut out = Vec::with_capacity(positions.len() * 24);
    let (mut last_id, mut last_ep) = ([0; 16], "");
    for (project, Position { ep, off }) in positions {
        let id = *project.0.as_bytes();
        let shared = id.iter().zip(last_id).take_while(|(a, b)| **a == *b).count();
        out.push(shared as u8);
        out.extend_from_slice(&id[shared..]);
        match short(ep) {
            _ if ep == last_ep => out.push(SAME),
            Some(bits) => out.extend_from_slice(&(bits | IS_SHORT).to_be_bytes()),
            None => {
                out.push(ep.len() as u8);
                out.extend_from_slice(ep.as_bytes());
            }
        }
        let mut off = *off;
        while off > 0x7F {
            out.push(off as u8 | 0x80);
            off >>= 7;
        }
        out.push(off as u8);
        (last_id, last_ep) = (id, ep.as_str());
    }
    BASE64_URL_SAFE_NO_PAD.encode(out)
}

pub(super) fn unpack(text: &str) -> BTreeMap<ProjectId, Position> {
    let mut all = BTreeMap::new();
    let Ok(bytes) = BASE64_URL_SAFE_NO_PAD.decode(text) else { return all };
    let (mut rest, mut last_id, mut last_ep) = (bytes.as_slice(), [0; 16], String::new());
    while all.len() < MAX_POSITIONS
        && let Some((id, ep, off)) = entry(&mut rest, last_id, &last_ep)
    {
        all.insert(ProjectId(Uuid::from_bytes(id)), Position { ep: ep.clone(), off });
        (last_id, last_ep) = (id, ep);
    }
    all
}

fn entry(rest: &mut &[u8], last_id: [u8; 16], last_ep: &str) -> Option<([u8; 16], String, u64)> {
    let shared = usize::from(take(rest, 1)?[0]);
    let mut id = last_id;
    let own = take(rest, 16usize.checked_sub(shared)?)?;
    id[shared..].copy_from_slice(own);
    let first = *rest.first()?;
    let ep = if first == SAME {
        take(rest, 1)?;
        last_ep.to_owned()
    } else if u32::from(first) >= IS_SHORT >> 24 {
        let bits = u32::from_be_bytes(take(rest, 4)?.try_into().ok()?);
        (0..SHORT).rev().map(|at| char::from(LETTERS[(bits >> (5 * at)) as usize & 31])).collect()
    } else {
        take(rest, 1)?;
        std::str::from_utf8(take(rest, usize::from(first))?).ok()?.to_owned()
    };
    let sound = !ep.is_empty() && ep.len() <= MAX_EPOCH_BYTES && ep.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let mut off = 0u64;
    for shift in (0..).step_by(7).take(10) {
        let byte = take(rest, 1)?[0];
        off |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return sound.then_some((id, ep, off));
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], many: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(many)?;
    *rest = left;
    Some(taken)
}

/// The epoch as 30 bits.
fn short(ep: &str) -> Option<u32> {
    let letter = |byte: u8| LETTERS.iter().position(|letter| *letter == byte);
    let bits = ep.bytes().try_fold(0, |bits, byte| Some(bits << 5 | letter(byte)? as u32));
    bits.filter(|_| ep.len() == SHORT)
}
