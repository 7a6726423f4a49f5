// Package wire is the form of what parties of the network write to each other over a connection (protocol.md sections
// 2 and 3, attestation.md section 7).
//
// It owns the TL encoding (Append functions and Cursor) and the attestation-info preamble that a router writes to the
// service behind it, in both generations of the reference network. It trusts no byte: every length is checked against
// what is left and against a bound of its field, one value has one encoding (over-long lengths, non-zero padding and
// trailing bytes are errors), and nothing that Cursor returns is larger than its input. Functions are pure; a Cursor
// belongs to one goroutine. It refuses to know evidence: reports are plain registers, and which of them are good is
// for the measure room to say.
package wire
