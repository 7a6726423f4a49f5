package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// failed is the result of a rule that refuses (cocoon.policy.verdict/1).
const failed = "fail"

// peerInspectResult is what a peer shows and what it is worth.
type peerInspectResult struct {
	Schema      string          `json:"schema"`
	Time        string          `json:"time"`
	Address     string          `json:"address"`
	OK          bool            `json:"ok"`
	PoW         powResult       `json:"pow"`
	TLS         tlsResult       `json:"tls"`
	Certificate certResult      `json:"certificate"`
	Quote       *quoteResult    `json:"quote,omitempty"`
	Verdict     policy.Document `json:"verdict"`
	// Error says why the verdict is what it is; absent when the peer is admitted.
	Error string `json:"error,omitempty"`

	now time.Time
	raw []byte // the quote as shown
}

// powResult is the proof of work that was solved.
type powResult struct {
	Difficulty int   `json:"difficulty"`
	DurationMS int64 `json:"duration_ms"`
}

// tlsResult is what was negotiated.
type tlsResult struct {
	Version    string `json:"version"`
	Suite      string `json:"cipher_suite"`
	Group      string `json:"group"`
	Profile    int    `json:"profile"`
	DurationMS int64  `json:"duration_ms"`
}

// certResult is the peer's certificate; the peer has proved that it holds the key.
type certResult struct {
	SHA256    string `json:"sha256"`
	Key       string `json:"key"`
	Serial    string `json:"serial"`
	Subject   string `json:"subject"`
	NotBefore string `json:"not_before"`
	NotAfter  string `json:"not_after"`
	// Evidence is none, tdx, fake or sev.
	Evidence string `json:"evidence"`
	PEM      string `json:"pem"`

	notAfter time.Time
}

// quoteResult is what a quote says about itself. Only the verdict says whether it is true.
type quoteResult struct {
	SizeBytes int `json:"size_bytes"`
	// SignedBytes leaves out the padding, which anybody may change.
	SignedBytes int    `json:"signed_bytes,omitempty"`
	Version     int    `json:"version,omitempty"`
	FMSPC       string `json:"fmspc,omitempty"`
	CA          string `json:"ca,omitempty"`
	ImageHash   string `json:"claimed_image_hash,omitempty"`
	Error       string `json:"error,omitempty"`
}

func newPeerInspectResult(conn *ratls.Conn, addr string, now time.Time, difficulty int, took map[ratls.Stage]time.Duration) *peerInspectResult {
	state, c := conn.ConnectionState(), conn.Peer.Certificate
	sum := sha256.Sum256(c.Raw)
	out := &peerInspectResult{
		Schema: "cocoon.peer.inspect/1", Time: utc(now), Address: addr, now: now,
		PoW: powResult{difficulty, took[ratls.StagePoW].Milliseconds()},
		TLS: tlsResult{
			tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.CurveID.String(),
			int(conn.Peer.Profile), took[ratls.StageTLS].Milliseconds(),
		},
		Certificate: certResult{
			SHA256: hex.EncodeToString(sum[:]), Key: hex.EncodeToString(conn.Peer.Key[:]), Serial: hex.EncodeToString(c.SerialNumber.Bytes()),
			Subject: c.Subject.String(), NotBefore: utc(c.NotBefore), NotAfter: utc(c.NotAfter), notAfter: c.NotAfter,
			PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})),
		},
	}
	if e, err := cert.Inspect(c, cert.Server); err == nil { // the handshake has accepted it
		out.Certificate.Evidence = e.Kind.String()
		if e.Kind == cert.TDX {
			out.raw, out.Quote = e.Quote, newQuoteResult(e.Quote)
		}
	}
	return out
}

func newQuoteResult(raw []byte) *quoteResult {
	out := &quoteResult{SizeBytes: len(raw)}
	q, err := tdx.ParseQuote(raw)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Version, out.SignedBytes = int(q.Version), len(q.Signed)
	if q.TD != nil {
		out.ImageHash = tdx.ImageHash(&q.TD.Measurements).String()
	}
	if p, err := dcap.PlatformOf(raw); err != nil {
		out.Error = err.Error()
	} else {
		out.FMSPC, out.CA = p.FMSPC.String(), p.CA.String()
	}
	return out
}

// judged takes over the verdict. When none could be reached, its code says what was in the way.
func (r *peerInspectResult) judged(v policy.Verdict, err error) {
	r.OK, r.Verdict = err == nil, v.Document()
	if err == nil {
		return
	}
	r.Error = err.Error()
	if r.Verdict.Code == "" || r.Verdict.Code == policy.OK {
		r.Verdict.Code = ratls.CodeOf(err)
	}
}

// Text implements cli.Document: connection, certificate, quote, verdict.
func (r *peerInspectResult) Text(w io.Writer) error {
	tables := [][][]string{r.connectionRows(), r.certificateRows()}
	if r.Quote != nil {
		tables = append(tables, r.quoteRows())
	}
	for _, table := range append(tables, r.findingRows()) {
		if err := cli.Table(w, append(table, []string{})); err != nil {
			return err
		}
	}
	verdict := "admitted"
	if !r.OK {
		verdict = "REFUSED (" + string(r.Verdict.Code) + "): " + r.Error
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}

func (r *peerInspectResult) connectionRows() [][]string {
	return [][]string{
		{"peer", r.Address},
		{"proof of work", fmt.Sprintf("difficulty %d, solved in %d ms", r.PoW.Difficulty, r.PoW.DurationMS)},
		{"connection", fmt.Sprintf("%s, %s, %s, profile v%d, %d ms", r.TLS.Version, r.TLS.Suite, r.TLS.Group, r.TLS.Profile, r.TLS.DurationMS)},
	}
}

func (r *peerInspectResult) certificateRows() [][]string {
	c := &r.Certificate
	return [][]string{
		{"certificate", c.Subject},
		{"sha256", c.SHA256},
		{"key", c.Key},
		{"valid", c.NotBefore + " to " + c.NotAfter + " (ends " + remaining(c.notAfter.Sub(r.now)) + ")"},
		{"evidence", c.Evidence},
	}
}

func (r *peerInspectResult) quoteRows() [][]string {
	q := r.Quote
	rows := [][]string{{"quote", fmt.Sprintf("%d bytes, version %d", q.SizeBytes, q.Version)}}
	if q.Error != "" {
		return append(rows, []string{"cannot be read", q.Error})
	}
	rows = append(rows, []string{"claims image", q.ImageHash}, []string{"platform", "FMSPC " + q.FMSPC + ", CA " + q.CA})
	p := r.Verdict.Platform
	if p == nil {
		return append(rows, []string{"status", "not verified: " + r.Error})
	}
	module := p.ModuleStatus
	if module == "" {
		module = "unknown"
	}
	return append(rows,
		[]string{"status", fmt.Sprintf("%s (platform %s, module %s, quoting enclave %s)", p.Status, p.PlatformStatus, module, p.QEStatus)},
		[]string{"collateral", fmt.Sprintf("evaluation %d, expires %s", p.EvaluationNumber, p.Expires)})
}

func (r *peerInspectResult) findingRows() [][]string {
	rows := make([][]string, 0, len(r.Verdict.Findings)+1)
	rows = append(rows, []string{"rule", "result", "found"})
	for _, f := range r.Verdict.Findings {
		found := f.Got
		if f.Result == failed {
			found += " (wanted: " + f.Want + ")"
		}
		rows = append(rows, []string{f.Rule, f.Result, found})
	}
	return rows
}

// save writes the evidence for later: a quote can be judged again with other tools.
func (r *peerInspectResult) save(dir string, c *x509.Certificate) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("saving the peer's evidence: %w", err)
	}
	err := os.WriteFile(filepath.Join(dir, "certificate.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), 0o644)
	if r.raw != nil {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "quote.dat"), r.raw, 0o644))
	}
	if err != nil {
		return fmt.Errorf("saving the peer's evidence: %w", err)
	}
	return nil
}

func peerHints(code policy.Code) []string {
	switch code {
	case ratls.CodeCollateral, policy.CollateralExpired:
		return []string{"name a service with --pccs URL, or a bundle fetched elsewhere with --collateral FILE"}
	case policy.Root:
		return []string{"a simulated platform's root is named with --trust-root FILE"}
	case policy.NoQuote:
		return []string{"the peer shows no quote: it cannot be told what runs there"}
	default:
		return nil
	}
}
