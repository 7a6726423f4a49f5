// Package conformance holds our roles against peers that are scripted by bytes, from the tables of protocol.md alone.
//
// It owns an encoder and a reader of its own, which share no code with contracts/wire, so that a mistake there cannot hide
// behind itself; whole sessions of every version, kept frame by frame, so that a change of the wire shows up in review; the
// matrix of negotiations; and a test with its name for every defect of the reference implementation that touches the
// inference path (protocol.md section 12). Each test has a proxy, a worker or a gateway of its own, in a bubble of its own
// time. It trusts the packages' own tests for what one role does alone, and refuses to know our messages by anything but
// their bytes.
package conformance
