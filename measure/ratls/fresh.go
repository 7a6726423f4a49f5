package ratls

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"

	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
)

// Labels of the TLS exporter for fresh quotes, by the side that sends the quote (attestation.md section 15). One label
// for both would let a side send the other one's quote back.
const (
	exporterClient = "EXPORTER-cocoon-ratls2-client"
	exporterServer = "EXPORTER-cocoon-ratls2-server"
)

// Frame of a fresh quote: u32 length of what follows, u32 constructor, TL bytes.
const (
	freshTag      = 0xbc194463
	freshHead     = 4 + 4                     // length, constructor
	maxFreshFrame = 4 + 4 + cert.MaxQuote + 3 // without the length
	minFreshFrame = 4 + 4
	tlLong        = 0xfe // a three-byte length follows
	tlAlign       = 4
)

func exporterLabel(sender cert.Purpose) string {
	if sender == cert.Server {
		return exporterServer
	}
	return exporterClient
}

// frameFresh writes the frame of a fresh quote.
func frameFresh(quote []byte) []byte {
	le := binary.LittleEndian
	head := 1
	if len(quote) >= tlLong {
		head = 4
	}
	padding := -(head + len(quote)) & (tlAlign - 1)
	dst := make([]byte, 0, freshHead+head+len(quote)+padding)
	dst = le.AppendUint32(dst, uint32(4+head+len(quote)+padding)) //nolint:gosec // at most maxFreshFrame
	dst = le.AppendUint32(dst, freshTag)
	if head == 1 {
		dst = append(dst, byte(len(quote))) //nolint:gosec // below tlLong
	} else {
		dst = le.AppendUint32(dst, uint32(len(quote))<<8|tlLong) //nolint:gosec // at most cert.MaxQuote
	}
	dst = append(dst, quote...)
	return append(dst, make([]byte, padding)...)
}

// readFresh reads one frame and not a byte more.
func readFresh(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("reading fresh quote: %w", err)
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n < minFreshFrame || n > maxFreshFrame {
		return nil, fmt.Errorf("reading fresh quote: frame of %d bytes, want %d..%d", n, minFreshFrame, maxFreshFrame)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, fmt.Errorf("reading fresh quote: %w", err)
	}
	quote, err := parseFresh(frame)
	if err != nil {
		return nil, fmt.Errorf("reading fresh quote: %w", err)
	}
	return quote, nil
}

// parseFresh reads a frame without its length.
func parseFresh(frame []byte) ([]byte, error) {
	le := binary.LittleEndian
	if len(frame) < freshHead || len(frame)%tlAlign != 0 {
		return nil, fmt.Errorf("frame of %d bytes, want a multiple of %d from %d on", len(frame), tlAlign, freshHead)
	}
	if tag := le.Uint32(frame); tag != freshTag {
		return nil, fmt.Errorf("constructor is %#08x, want %#08x", tag, freshTag)
	}
	rest, length := frame[5:], int(frame[4])
	if length == tlLong {
		rest, length = frame[8:], int(le.Uint32(frame[4:])>>8)
	}
	// The shortest form is the only one, and nothing but zeroes up to the next multiple of four may follow.
	if again := frameFresh(rest[:min(length, len(rest))]); string(again[4:]) != string(frame) {
		return nil, errors.New("the quote's length, form or padding is not TL's")
	}
	return rest[:length], nil
}

// exchange sends a quote made for this connection and judges the peer's. Nothing else has been sent before.
func (a *attempt) exchange(ctx context.Context, c *Conn) error {
	return bounded(ctx, c.raw, func() error { return a.swap(ctx, c) })
}

func (a *attempt) swap(ctx context.Context, c *Conn) error {
	own, ok := publicKey(a.own.Leaf)
	if !ok {
		return coded(CodeInternal, errors.New("own certificate has no Ed25519 key"))
	}
	ours, err := freshBinding(c, a.side, own)
	if err != nil {
		return err
	}
	theirs, err := freshBinding(c, a.side.Other(), c.Peer.Key)
	if err != nil {
		return err
	}
	quote, err := a.end.Fresh.Quote(ctx, ours)
	if err != nil {
		return fmt.Errorf("getting fresh quote: %w", err)
	}
	if len(quote) == 0 || len(quote) > cert.MaxQuote {
		return fmt.Errorf("getting fresh quote: %d bytes, want 1..%d", len(quote), cert.MaxQuote)
	}
	if _, err := c.Write(frameFresh(quote)); err != nil {
		return fmt.Errorf("sending fresh quote: %w", err)
	}
	if quote, err = readFresh(c); err != nil {
		return err
	}
	return a.end.Judge.judgeFresh(ctx, quote, theirs, &c.Peer, a.terms)
}

// freshBinding is the report data of a side's fresh quote on this connection. Without an exporter there is none.
func freshBinding(c *Conn, sender cert.Purpose, key cert.Key) ([64]byte, error) {
	state := c.ConnectionState()
	material, err := state.ExportKeyingMaterial(exporterLabel(sender), nil, cert.ExporterSize)
	if err != nil {
		return [64]byte{}, fmt.Errorf("exporting keying material: %w", err)
	}
	return cert.FreshReportData(sender, key, [cert.ExporterSize]byte(material)), nil
}

// judgeFresh judges a quote that was made for one connection: it must pass the policy, commit to the connection and be
// of the TD whose quote the certificate has.
func (j *Judge) judgeFresh(ctx context.Context, quote []byte, want [64]byte, p *Peer, t Terms) error {
	if p.Report == nil || p.Report.TD == nil {
		return coded(CodeFresh, errors.New("judging fresh quote: the peer's certificate was admitted without a quote to compare it with"))
	}
	res, err := j.quotes.once(ctx, quote)
	if err != nil {
		return err
	}
	ev := policy.Evidence{
		Quote: res, ReportDataOK: commits(res, want), Claims: p.Verdict.Claims,
		CertLifetime: p.Certificate.NotAfter.Sub(p.Certificate.NotBefore),
	}
	if _, err := j.ask(ev, t, j.now()); err != nil {
		return fmt.Errorf("judging fresh quote: %w", err)
	}
	now, then := res.Quote.TD, p.Report.TD
	if now == nil || now.Measurements != then.Measurements || now.TDAttributes != then.TDAttributes || now.XFAM != then.XFAM {
		return coded(CodeFresh, errors.New("judging fresh quote: it is of another TD than the quote in the certificate"))
	}
	return nil
}

// freshInterval is the least time between quotes: quoting services work on one at a time, and the kernel looks once a
// second whether it is done.
const freshInterval = time.Second

// LimitQuoter makes a quoter that many connections may ask: one quote is made at a time, and at most one a second.
// Who waits does so within its context.
func LimitQuoter(q Quoter) Quoter {
	return &limitedQuoter{inner: q, turn: newTurn(), pace: rate.NewLimiter(rate.Every(freshInterval), 1)}
}

type limitedQuoter struct {
	inner Quoter
	turn  turn
	pace  *rate.Limiter
}

// Quote waits for its turn.
func (l *limitedQuoter) Quote(ctx context.Context, reportData [64]byte) ([]byte, error) {
	if err := l.turn.take(ctx); err != nil {
		return nil, fmt.Errorf("waiting for the quoting service: %w", err)
	}
	defer l.turn.give()
	if err := l.pace.Wait(ctx); err != nil {
		return nil, fmt.Errorf("waiting for the quoting service: %w", err)
	}
	return l.inner.Quote(ctx, reportData)
}
