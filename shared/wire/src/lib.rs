//! Wire formats of clients and providers: bytes in, bytes out, no I/O.
//!
//! Two modes. In *passthrough* client and upstream speak the same format: [`scan`] finds the few fields that matter,
//! [`splice`] exchanges them, the scanner of each format and [`json_tail`] watch the answer go by. In *translate* mode a body is
//! decoded into the intermediate representation ([`ir`]) and encoded for the other side; each format is one module.
//!
//! The rooms, from the top; imports go down:
//!
//! ```text
//! translate, embeddings, images, render    what picks the halves of formats
//! completions, responses                   formats that borrow from others
//! ollama, cohere, bedrock
//! anthropic, gemini
//! openai
//! rounds, answer_tool, custom_input, fill_in, tool_schema    what requests of several formats are mended with
//! tools, system_text, stable_id, error_words, embedding_list, media
//! service_tier                                                what an answer says of the service
//! json_tail, scan, splice, event_scan, event_stream          bodies and streams that pass
//! object, tree                                                reading JSON
//! lenient, json_walk, write                                   the pieces of that
//! text, quote, string_block, byte_order_mark
//! codec                                                       what a format module provides
//! ir                                                          the representation
//! usage
//! ```

mod answer_tool;
pub mod anthropic;
pub mod bedrock;
pub mod byte_order_mark;
pub mod codec;
pub mod cohere;
pub mod completions;
mod custom_input;
mod embedding_list;
pub mod embeddings;
mod error_words;
mod event_scan;
pub mod event_stream;
mod fill_in;
pub mod gemini;
pub mod images;
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
mod rounds;
pub mod scan;
mod service_tier;
pub mod splice;
mod stable_id;
mod string_block;
mod system_text;
mod text;
mod tool_schema;
mod tools;
pub mod translate;
mod tree;
pub mod usage;
mod write;
