//! tmp
#![allow(missing_docs)]
#[derive(Debug)]
pub struct PrefixTree;
#[derive(Debug)]
pub struct Matches;
#[derive(Debug, Clone)]
pub struct TreeStats;
impl PrefixTree {
    pub fn new(_b: usize, _w: usize) -> Self {
        PrefixTree
    }
    pub fn find(&self, _b: &[u64], _m: &mut Matches) {}
    pub fn remember(&self, _b: &[u64], _m: &Matches, _s: usize) {}
    pub fn register(&self, _s: usize, _c: Option<u64>) {}
    pub fn unregister(&self, _s: usize) {}
    pub fn stats(&self) -> TreeStats {
        TreeStats
    }
}
impl Matches {
    pub fn new() -> Self {
        Matches
    }
    pub fn get(&self, _s: usize) -> usize {
        0
    }
    pub fn holders(&self) -> &[u16] {
        &[]
    }
    pub fn longest(&self) -> usize {
        0
    }
}
