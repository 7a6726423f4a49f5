// Package proxy is the role in the middle: clients connect to it with their prompts, workers with their models, and it
// brings the two together, counts, and signs what it counted (protocol.md sections 4 to 6, inference.md sections 5 to 11).
//
// It owns both kinds of sessions with their handshakes in every version, the checks at the edge, the one place where a
// request is rewritten, the relay of answers with its hashes, pings and credit, and the receipts. Money is the ledger's,
// the choice of a worker sched's, the field policy contracts/api's. It trusts the chain as its caller shows it, and
// the attestation that the caller has judged; no number of a peer is used before it was bounded, and no peer's message
// ends more than that peer's session. A request ends exactly once for its client, whatever happens to its worker.
//
// A Proxy is safe for concurrent use. A session's goroutines have ended when its Serve call returns. It refuses visibly:
// with a reason, it serves nobody new and still finishes and signs what runs. It never logs, keeps or shows a prompt or
// an answer; receipts hold hashes and counts.
package proxy
