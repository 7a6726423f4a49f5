package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
)

const (
	okStatus   = http.StatusOK
	badStatus  = http.StatusBadRequest
	downStatus = http.StatusInternalServerError
)

// streamHead is the head that the proxy sends when it pings before a worker has answered.
func streamHead() *tl.HTTPResponse {
	return &tl.HTTPResponse{
		HTTPVersion: "HTTP/1.1", StatusCode: okStatus, Reason: "OK",
		Headers: []tl.HTTPHeader{{Name: "Content-Type", Value: "text/event-stream"}, {Name: "Cache-Control", Value: "no-cache"}},
	}
}

// hopByHop says whether a header concerns one connection only. Names are compared without their case.
func hopByHop(name string) bool {
	return slices.ContainsFunc([]string{
		"Connection", "Content-Length", "Transfer-Encoding", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade",
	}, func(h string) bool { return strings.EqualFold(h, name) })
}

// parseHead reads a worker's head and takes the body out of it.
func parseHead(data []byte) (*tl.HTTPResponse, []byte, error) {
	v, err := tl.View(data)
	if err != nil {
		return nil, nil, errMalformed
	}
	h, ok := v.(*tl.HTTPResponse)
	if !ok || h.StatusCode < okStatus || h.StatusCode > 599 || len(h.Headers) > maxHeaders {
		return nil, nil, errMalformed
	}
	h.Headers = slices.DeleteFunc(h.Headers, func(x tl.HTTPHeader) bool { return hopByHop(x.Name) || unsafe(x.Name) || unsafe(x.Value) })
	body := h.Payload
	h.Payload = nil
	return h, body, nil
}

// unsafe says that a header's part would break out of its line.
func unsafe(s string) bool {
	return strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, 0) >= 0
}

func isStream(h *tl.HTTPResponse) bool {
	return slices.ContainsFunc(h.Headers, func(x tl.HTTPHeader) bool {
		return strings.EqualFold(x.Name, "Content-Type") && strings.HasPrefix(strings.ToLower(x.Value), "text/event-stream")
	})
}

// stamp adds the proxy's timing headers (protocol.md section 4.1); a zero end adds none.
func stamp(h *tl.HTTPResponse, start, end time.Time) {
	h.Headers = append(h.Headers, tl.HTTPHeader{Name: "X-Cocoon-Proxy-Start", Value: seconds(start)})
	if !end.IsZero() {
		h.Headers = append(h.Headers, tl.HTTPHeader{Name: "X-Cocoon-Proxy-End", Value: seconds(end)})
	}
}

// Headers of inference.md section 3 that an app sees before the receipt is there.
const (
	headerKeyset = "X-Aci-Keyset-Digest"
	headerCost   = "X-Cocoon-Cost-Nano"
)

// announce adds to a head what the receipt will say: by which keys it is signed and, once that is known, what the answer
// costs. No app needs to wait for the receipt then. A worker's word on either counts nothing.
func (r *request) announce(h *tl.HTTPResponse, billed *ledger.Entry) {
	if r.out.version < versionOurs {
		return
	}
	h.Headers = slices.DeleteFunc(h.Headers, func(x tl.HTTPHeader) bool {
		return strings.EqualFold(x.Name, headerKeyset) || strings.EqualFold(x.Name, headerCost)
	})
	if _, digest, err := r.p.papers.of(r.p.contractBy(&r.root).Address); err == nil {
		h.Headers = append(h.Headers, tl.HTTPHeader{Name: headerKeyset, Value: digest})
	}
	if billed != nil {
		h.Headers = append(h.Headers, tl.HTTPHeader{Name: headerCost, Value: strconv.FormatUint(r.metered(*billed).Cost, 10)})
	}
}

// seconds is a time as a header has it: in Unix seconds with six decimals.
func seconds(t time.Time) string {
	const million = 1_000_000
	micro := int64(0)
	if !t.IsZero() {
		micro = max(t.UnixMicro(), 0)
	}
	out := strconv.AppendInt(make([]byte, 0, len("1234567890.123456")), micro/million, 10)
	point := len(out)
	out = strconv.AppendInt(out, million+micro%million, 10)
	out[point] = '.' // in the place of the million
	return string(out)
}

// unix is a time in seconds, as the network writes them.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}
