package proxy

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"strings"
	"testing"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/tl"
)

// numbered is the id of one of many requests.
func numbered(i int) (id [32]byte) {
	binary.LittleEndian.PutUint64(id[:], uint64(i))
	return id
}

// scribe is a worker whose statements about one answer were signed beforehand.
type scribe map[[32]byte]*tl.ProxyQueryStatement

func (s scribe) prepare(contract string, forwarded []byte, n int, info *tl.ProxyQueryFinalInfo) {
	tokens, _ := counted(versionOurs, info.TokensUsed, 0, (Root{}).Multipliers)
	for i := range n {
		id := numbered(i + 1)
		said := receipt.WorkerStatement{
			RequestID: hex.EncodeToString(id[:]), RequestHash: receipt.SHA256(forwarded), ResponseHash: receipt.SHA256([]byte(answer)),
			Status: receipt.Complete, ServedAt: 1, WorkerSC: contract, Tokens: tokens,
		}
		s[id] = &tl.ProxyQueryStatement{
			ResponseHash: sha256.Sum256([]byte(answer)), ServedAt: 1, KeyID: "w-1", Signature: ed25519.Sign(seeded(5), said.Bytes()),
		}
	}
}

// BenchmarkRequest: one request after the other through a proxy, between a client and a worker that do little. Without receipts
// nothing is signed: what is left is the proxy's own work.
func BenchmarkRequest(b *testing.B) {
	for name, tc := range map[string]struct {
		prompt   int
		receipts bool
	}{
		"1 KB": {1 << 10, true}, "64 KB": {64 << 10, true}, "1 KB without receipts": {1 << 10, false},
	} {
		b.Run(name, func(b *testing.B) { benchmarkRequest(b, tc.prompt, tc.receipts) })
	}
}

func benchmarkRequest(b *testing.B, prompt int, receipts bool) {
	b.Helper()
	p := newBench(b, func(_ *Config, d *Deps) { d.Log = slog.New(slog.DiscardHandler) })
	ctx, cancel := context.WithCancel(b.Context())
	p.ctx = ctx
	version := int32(versionOurs)
	unsigned := func(*tl.WorkerParams) {}
	if !receipts {
		version = versionTimes
		unsigned = func(p *tl.WorkerParams) { p.MachineDescriptionJSON = nil }
	}
	w, signed := p.worker(versionOurs, nil, unsigned), make(scribe)
	info := w.usage()
	w.act = func(m tl.Object) {
		w.take(m)
		for _, o := range w.orders {
			if receipts && o.client == numbered(0) {
				signed.prepare(w.contract, o.http.Payload, b.N, info)
			}
			w.begin(o, headOf(200, "application/json", answer), info)
			if receipts {
				s := &tl.ProxyQueryStatement{KeyID: "w-1"}
				if known := signed[o.client]; known != nil {
					s = known
				}
				s.RequestID = o.id
				w.send(s)
			}
		}
		w.orders = w.orders[:0]
	}
	c, q := p.client(version), run(0, `{"model":"demo/model","messages":[{"role":"user","content":"`+strings.Repeat("word ", prompt/5)+`"}],"max_tokens":50}`)
	p.served.Go(func() {
		for {
			select {
			case <-w.heard:
			case <-ctx.Done():
				return
			}
		}
	})
	b.ReportAllocs()
	for i := range b.N + 1 {
		if i == 1 {
			b.ResetTimer()
		}
		q.RequestID = numbered(i)
		c.send(q)
		if receipts {
			hear[*tl.ClientQueryReceipt](c.party)
		} else {
			hear[*tl.ClientQueryAnswerEx](c.party)
		}
	}
	b.StopTimer()
	cancel()
	p.served.Wait()
}
