// Package engine talks to the inference engine of a worker: what it may be asked, how a request is put to it, and what
// its answers, its health and its load mean (inference.md section 12).
//
// It owns engine.toml, which holds everything that is peculiar to one kind of engine as measured data, and the HTTP
// client with its limits. It trusts the measured configuration and nothing that comes out of the engine: headers,
// bodies and metrics are bounded, redirects and encodings nobody asked for are errors. An Adapter is safe for
// concurrent use. It does not start engines (guest/engine does), reaches nothing but the configured socket or the
// loopback, refuses every path that the configuration does not list, and logs nothing.
package engine
