//! Wire formats of clients and providers: bytes in, bytes out, no I/O.
//!
//! Two lanes. In the *passthrough* lane client and upstream speak the same format: [`scan`] finds the few fields that matter,
//! [`splice`] exchanges them, [`usage_scanner`] and [`json_tail`] watch the answer go by. In the *translate* lane a body is
//! decoded into the intermediate representation ([`ir`]) and encoded for the other side; each format is one module.

pub mod anthropic;
pub mod bedrock;
pub mod byte_order_mark;
pub mod codec;
pub mod cohere;
pub mod completions;
mod custom_input;
pub mod embeddings;
mod error_words;
pub mod event_stream;
mod fill_in;
pub mod gemini;
pub mod ir;
pub mod json_tail;
mod json_walk;
mod lenient;
mod media;
mod object;
pub mod ollama;
pub mod openai;
mod quote;
pub mod render;
pub mod responses;
pub mod scan;
pub mod splice;
mod stable_id;
mod string_block;
mod system_text;
mod text;
mod tools;
pub mod translate;
mod tree;
pub mod usage;
pub mod usage_scanner;
mod write;
