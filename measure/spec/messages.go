package spec

import (
	"fmt"

	"cocoon/measure/tdx"
)

// Fixed RTMR3 messages (measure.md section 9.2).
const (
	// DebugMessage follows the spec message when the command line holds the word cocoon_debug.
	DebugMessage = "cocoon:cocoon_debug"
	// InitedMessage ends the sequence, after key generation and before the certificate.
	InitedMessage = "cocoon:tdx_inited"
)

// maxMessage bounds a message; the longest of ours is 81 bytes.
const maxMessage = 1024

// SpecTreeMessage is the first RTMR3 message.
//
//nolint:revive // named after the message, spec.tree
func SpecTreeMessage(tree Hash) string { return "cocoon:spec.tree=" + tree.String() }

// Messages lists every message of a boot in extend order.
func Messages(tree Hash, debug bool) []string {
	if debug {
		return []string{SpecTreeMessage(tree), DebugMessage, InitedMessage}
	}
	return []string{SpecTreeMessage(tree), InitedMessage}
}

// MessageDigest is what a message extends: SHA-384 of its ASCII bytes, without a newline. Anything but printable
// ASCII is refused, because the text log holds one message a line.
func MessageDigest(message string) (tdx.Digest, error) {
	if message == "" || len(message) > maxMessage {
		return tdx.Digest{}, fmt.Errorf("RTMR3 message has %d bytes, want 1..%d", len(message), maxMessage)
	}
	for i := range len(message) {
		if c := message[i]; c < ' ' || c > '~' {
			return tdx.Digest{}, fmt.Errorf("RTMR3 message %q has byte 0x%02x at %d, want printable ASCII", message, c, i)
		}
	}
	return tdx.Sum([]byte(message)), nil
}

// RTMR3 holds the two values of the register that matter.
type RTMR3 struct {
	// Seal is the value while sealed keys are derived: before InitedMessage.
	Seal tdx.Digest `json:"seal"`
	// Final is the value in the certificate's quote and in the image hash.
	Final tdx.Digest `json:"final"`
}

// PredictRTMR3 replays Messages from the zero register.
func PredictRTMR3(tree Hash, debug bool) RTMR3 {
	var reg tdx.Digest
	messages := Messages(tree, debug)
	last := len(messages) - 1
	for _, m := range messages[:last] {
		reg = reg.Extend(tdx.Sum([]byte(m)))
	}
	return RTMR3{Seal: reg, Final: reg.Extend(tdx.Sum([]byte(messages[last])))}
}
