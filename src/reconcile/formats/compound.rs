//! Compound files: the streams of old Office documents, each a chain of sectors.
//!
//! Only chains that are asked for are followed. Easy to get wrong: chains of a broken file turn in circles or point
//! behind its end, so a chain has no more sectors than the file, and one that leaves the file ends the reading.
use std::borrow::Cow;

pub(super) const MAGIC: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
/// Sector numbers from here on are marks, such as the end of a chain.
const MARKS: u32 = 0xffff_fffa;
/// Bytes of a sector of the small streams, which share one chain.
const SMALL: usize = 64;
/// Streams shorter than this are small.
const CUTOFF: usize = 4096;

/// A stream as its directory entry has it.
struct Entry {
    name: String,
    start: u32,
    bytes: usize,
}

/// An opened compound file.
pub(super) struct Compound<'a> {
    bytes: &'a [u8],
    sector: usize,
    next: Vec<u32>,
    next_small: Vec<u32>,
    small: Vec<u8>,
    entries: Vec<Entry>,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number))
}

impl<'a> Compound<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let cut = || "its header is cut off".to_owned();
        let header = |at| u32_at(bytes, at).ok_or_else(cut);
        let sector = match u16_at(bytes, 30).ok_or_else(cut)? {
            9 => 512,
            12 => 4096,
            other => return Err(format!("sectors of 2^{other} bytes are not known")),
        };
        let mut file =
            Self { bytes, sector, next: Vec::new(), next_small: Vec::new(), small: Vec::new(), entries: Vec::new() };
        // Which sectors hold the chains: the first 109 stand in the header, the others in a chain of their own.
        let mut tables: Vec<u32> = numbers(bytes.get(76..512).ok_or_else(cut)?).filter(|at| *at < MARKS).collect();
        let mut more = header(68)?;
        for _ in 0..=file.count() {
            if more >= MARKS {
                break;
            }
            let (listed, last) = file.sector(more)?.split_last_chunk::<4>().expect("a sector has 512 bytes or more");
            tables.extend(numbers(listed).filter(|at| *at < MARKS));
            more = u32::from_le_bytes(*last);
        }
        if tables.len() > file.count() {
            return Err("its table of sectors is larger than the file".to_owned());
        }
        let mut next = Vec::new();
        for table in tables {
            next.extend(numbers(file.sector(table)?));
        }
        file.next = next;
        let directory = file.chain(header(48)?, usize::MAX)?;
        file.entries = directory.chunks_exact(128).filter_map(entry).collect();
        let root = directory.first_chunk::<128>().ok_or("it has no directory")?;
        if header(64)? > 0 {
            let small = u32_at(root, 116).zip(u32_at(root, 120)).ok_or_else(cut)?;
            file.small = file.chain(small.0, small.1 as usize)?;
            file.next_small = numbers(&file.chain(header(60)?, usize::MAX)?).collect();
        }
        Ok(file)
    }

    /// Sectors that the file has room for.
    fn count(&self) -> usize {
        self.bytes.len() / self.sector
    }

    /// The last sector may be cut.
    fn sector(&self, at: u32) -> Result<&'a [u8], String> {
        let start = (at as usize + 1) * self.sector;
        let end = start.checked_add(self.sector).filter(|end| *end <= self.bytes.len());
        end.map(|end| &self.bytes[start..end]).ok_or_else(|| format!("sector {at} lies behind the end of the file"))
    }

    fn chain(&self, mut at: u32, bytes: usize) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        for _ in 0..=self.count() {
            if at >= MARKS || content.len() >= bytes {
                content.truncate(bytes);
                return Ok(content);
            }
            content.extend_from_slice(self.sector(at)?);
            at = *self.next.get(at as usize).ok_or_else(|| format!("sector {at} is in no chain"))?;
        }
        Err("a chain of sectors turns in a circle".to_owned())
    }

    fn small_chain(&self, mut at: u32, bytes: usize) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        while at < MARKS && content.len() < bytes {
            let start = at as usize * SMALL;
            let part = self.small.get(start..start + SMALL).or_else(|| self.small.get(start..));
            content.extend_from_slice(part.ok_or_else(|| format!("small sector {at} lies behind their end"))?);
            at = *self.next_small.get(at as usize).ok_or_else(|| format!("small sector {at} is in no chain"))?;
        }
        content.truncate(bytes);
        Ok(content)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    /// The bytes of a stream; `None` when there is none of that name.
    pub(super) fn stream(&self, name: &str) -> Option<Result<Vec<u8>, String>> {
        let entry = self.entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))?;
        Some(match entry.bytes {
            ..CUTOFF => self.small_chain(entry.start, entry.bytes),
            _ => self.chain(entry.start, entry.bytes),
        })
    }
}

/// Name, kind, first sector and length stand at fixed places; kind 2 is a stream.
fn entry(bytes: &[u8]) -> Option<Entry> {
    let name: Cow<'_, str> = encoding_rs::UTF_16LE.decode_without_bom_handling(&bytes[..64]).0;
    let name = name.split('\0').next()?.to_owned();
    let (kind, start, length) = (bytes[66], u32_at(bytes, 116)?, u32_at(bytes, 120)?);
    (kind == 2).then_some(Entry { name, start, bytes: length as usize })
}
