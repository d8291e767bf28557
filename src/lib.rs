//! Routing brain for LLM serving.
