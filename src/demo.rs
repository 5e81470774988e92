//! stub
use crate::error::Result;
/// stub
pub fn run() -> Result<String> { Ok(String::new()) }
