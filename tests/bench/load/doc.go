// Package load is an engine with fixed answers and a client that asks for them as fast as it can, or as a reader of many
// slow streams does.
//
// It owns the answers, so it knows every byte that an app must get: whatever is between the two, an answer that differs,
// ends early or is called whole when it is not is counted as broken. It trusts nobody between. An Engine serves any number
// of connections; Run's clients are goroutines of its own, which have ended when it returns. It refuses to measure: what a
// process used is read by the caller, at the two moments that Run names.
package load
