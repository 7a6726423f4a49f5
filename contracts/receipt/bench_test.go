package receipt

import (
	"crypto/ed25519"
	"testing"
)

// sample is a good receipt of the vectors with what a verifier needs.
func sample(b *testing.B) (raw []byte, r *Receipt, ctx Context) {
	b.Helper()
	v, ctx := load(b)
	c := v.Receipts[0]
	ctx.Request, ctx.Response = []byte(c.Request), []byte(c.Response)
	r, err := Verify([]byte(c.Document), ctx)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return []byte(c.Document), r, ctx
}

func BenchmarkSign(b *testing.B) {
	_, r, _ := sample(b)
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	for b.Loop() {
		r.Sign("k", key)
	}
}

// BenchmarkWrite is Sign without Ed25519.
func BenchmarkWrite(b *testing.B) {
	_, r, _ := sample(b)
	for b.Loop() {
		p, f := page{Receipt: *r, keyID: "k"}, form{buf: make([]byte, 0, roomy)}
		p.fill(&f)
	}
}

func BenchmarkStatement(b *testing.B) {
	_, r, _ := sample(b)
	s := WorkerStatement{
		RequestID: r.ID, RequestHash: r.ForwardedHash, ResponseHash: r.Statement.ResponseHash, Status: r.Statement.Status,
		ServedAt: r.Statement.Served, WorkerSC: r.Worker.SC, Tokens: r.Usage.Tokens,
	}
	for b.Loop() {
		s.Bytes()
	}
}

// BenchmarkVerify is the whole verdict, with two signatures.
func BenchmarkVerify(b *testing.B) {
	raw, _, ctx := sample(b)
	for b.Loop() {
		if _, err := Verify(raw, ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyBesideEd25519 is the verdict but for the two signatures.
func BenchmarkVerifyBesideEd25519(b *testing.B) {
	raw, _, ctx := sample(b)
	for b.Loop() {
		d := Read(raw)
		var memory [roomy]byte
		_ = d.signed(memory[:0])
		r, err := d.receipt()
		if err != nil || d.Cites().Session == "" {
			b.Fatal("not a receipt")
		}
		for _, check := range []func(*Receipt, Context) error{
			checkBodies, checkCounts, checkCost, checkPrice, checkReservation, checkChannel, checkSession, checkWorker,
		} {
			if err := check(r, ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkReadPage and BenchmarkReadAny are the two readers.
func BenchmarkReadPage(b *testing.B) {
	raw, _, _ := sample(b)
	for b.Loop() {
		if readPage(raw) == nil {
			b.Fatal("not a page")
		}
	}
}

func BenchmarkReadAny(b *testing.B) {
	raw, _, _ := sample(b)
	for b.Loop() {
		if _, err := readAny(raw).receipt(); err != nil {
			b.Fatal(err)
		}
	}
}
