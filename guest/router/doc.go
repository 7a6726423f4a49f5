// Package router is the RA-TLS front door of a machine and its way out: it accepts attested connections for services
// inside, and makes attested connections for programs inside, in its own process or within another (attestation.md
// sections 5 to 8 and 14).
//
// It owns listeners (SOCKS5, forward, reverse), the order of stages of a connection with a deadline for each, limits per
// listener and per source, the pipe between the two ends, named policies and their replacement under way, and metrics.
// Whom to admit is measure/policy's to say and what a handshake proves is measure/ratls'; nothing is written to the
// service inside, and it is not even dialled, before the handshake has ended and the verdict is in. It trusts neither
// peers nor the programs behind its local ports: every byte of either is bounded and timed, and a panic ends one
// connection. A Router is safe for concurrent use; its goroutines end when Run returns. It refuses to start under a
// configuration that would admit nobody or anybody by accident: `@tdx` without images is an error, so are names given
// twice and keys it does not know.
package router
