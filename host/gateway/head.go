package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"cocoon/host/gateway/upstream"
)

// namePrefix begins the ids of requests.
const namePrefix = "req_"

// name is what an attempt is called: namePrefix and its id in hexadecimal.
type name string

// newName makes an id and the name of it.
func newName() (id [32]byte, n name) {
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	var text [len(namePrefix) + 2*len(id)]byte
	copy(text[:], namePrefix)
	hex.Encode(text[len(namePrefix):], id[:])
	return id, name(text[:])
}

// receipt is the id of the receipt, 64 hexadecimal digits.
func (n name) receipt() string { return string(n[len(namePrefix):]) }

// request is the id that the app sees: a half of it.
func (n name) request() string { return string(n[:len(namePrefix)+32]) }

// usualHeaders is how many headers an answer has.
const usualHeaders = 16

// set sets a header of the answer, whose name is in its canonical form.
func (x *exchange) set(header, value string) {
	if x.values == nil {
		x.values = make([]string, 0, usualHeaders)
	}
	x.values = append(x.values, value)
	n := len(x.values)
	x.w.Header()[header] = x.values[n-1 : n : n]
}

// has says whether a header of the answer is set, whose name is in its canonical form.
func (x *exchange) has(header string) bool { return len(x.w.Header()[header]) > 0 }

// head writes the status and the headers of the answer.
func (x *exchange) head(status int, media string) {
	x.set("Content-Type", media)
	x.set("X-Request-Id", x.name.request())
	x.set("X-Cocoon-Client-Start", unix(x.began))
	if x.call != nil && x.call.Version() >= upstream.ExtensionVersion {
		x.set("X-Receipt-Id", x.name.receipt())
		x.set("X-Aci-Version", "aci/1")
	}
	if x.call != nil && !x.call.Offer.Peer.Verified {
		x.set("X-Cocoon-Warning", "the proxy was not verified: test use only")
	}
	if x.emulate {
		x.set("X-Cocoon-Stream", "emulated")
	}
	if len(x.req.Ignored) > 0 {
		x.set("X-Cocoon-Ignored-Params", strings.Join(x.req.Ignored[:min(len(x.req.Ignored), 64)], ","))
	}
	if media == eventStream {
		x.set("Cache-Control", "no-cache")
		x.set("X-Accel-Buffering", "no")
	}
	x.committed = true
	x.outcome.http = status
	x.w.WriteHeader(status)
}

// unix is a time as the reference implementation writes it: seconds with six decimals.
func unix(t time.Time) string {
	const whole = 1e6 // a digit that keeps the fraction's zeros
	out := strconv.AppendInt(make([]byte, 0, 24), t.Unix(), 10)
	dot := len(out)
	out = strconv.AppendInt(out, whole+int64(t.Nanosecond()/1000), 10)
	out[dot] = '.'
	return string(out)
}

// passes says whether a header of an answer reaches the app.
func passes(name string) bool {
	switch name {
	case "Retry-After", "Retry-After-Ms", "X-Should-Retry", "X-Cocoon-Stream",
		"X-Cocoon-Proxy-Start", "X-Cocoon-Proxy-End", "X-Cocoon-Worker-Start", "X-Cocoon-Worker-End",
		"X-Cocoon-Ignored-Params", headerCost, "X-Aci-Keyset-Digest":
		return true
	}
	return false
}
