// Package policy decides whether a peer's evidence is acceptable (attestation.md section 8).
//
// It owns the rules: their JSON, their safe defaults, the order in which they are judged, and the result codes that
// logs and metrics carry. A Policy is one table of rules for one type of peer; Check judges all of them and returns a
// Verdict in which every rule names what it wanted and what it got.
//
// It trusts what measure/dcap verified and nothing else: a quote reaches the rules only as a dcap.Result. Claims of a
// certificate are as trustworthy as the caller's check of the certificate.
//
// A Policy cannot change after it was made, so any number of goroutines may use one. Check reads no clock, no file and
// no network: time and the chain's lists come in Env.
//
// It refuses to be lenient. Unknown, repeated or misspelt keys, wrong types and wrong lengths are errors at load; an
// empty allow-list admits nobody; no setting admits a debug TD; the hash of "no measurements" cannot be listed.
package policy
