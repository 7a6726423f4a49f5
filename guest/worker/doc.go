// Package worker serves queries of proxies with one inference engine (protocol.md sections 5 and 7, inference.md
// sections 6 to 9 and 12).
//
// It owns the sessions to proxies with their handshakes in every version, admission, the check of each request by the
// shared field policy, the relay and the metering of answers, and the signed statement of what was used. It trusts
// neither proxies nor the engine: every number is checked at the edge, a request is bounded in time, size and tokens,
// and a stream that broke never ends as if it were whole.
//
// What broke after the head was sent is told inside the stream, by the error event that the worker itself appends, and
// the answer then ends like any other: so the hash that the worker signs is over all bytes of the body. What fails
// before the head is an error message. Cancelled requests end in error 653. All of them carry what was used.
//
// A Worker is safe for concurrent use; its goroutines have ended when Run returns. It never logs, keeps or shows a
// prompt or an answer, nor anything about a client.
package worker
