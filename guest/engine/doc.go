// Package engine starts the inference engine of a worker and says when it serves (image.md sections 12 and 16).
//
// It owns the table of known engines (which program of a verified layer, with which arguments), the engine's sandbox
// description, its readiness (the health path, then one real completion) and what is kept of its output. Arguments
// come from this table and from measured configuration only. It trusts neither the engine's answers, which are
// bounded and checked, nor its output, which may contain prompts: it is kept in a small ring and leaves the guest
// only in images that are not production. Start is called once per boot. It refuses layers without a known engine.
package engine
