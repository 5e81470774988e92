//! Reports as people and programs read them: one file a format, report in, string out.

pub mod bench;
pub mod github;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod sweep;
pub mod text;
pub mod words;
