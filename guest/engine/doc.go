// Package engine starts the inference engine of a worker and says when it serves (image.md sections 12 and 16).
//
// It owns the engine's sandbox description, its supervision, its readiness (the path of engine.toml, then one real
// completion) and what is kept of its output. Arguments, variables and waits come from one measured engine.toml, which
// the worker reads too, and from three bounded wishes of the host. It trusts neither the engine's answers, which are
// bounded and checked, nor its output, which may contain prompts: it is kept in a small ring and leaves the guest
// only in images that are not production. Start is called once per boot. It refuses layers without a known engine,
// settings for another layer, and engines that are scripts.
package engine
