package receipt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/contracts/pricing"
)

// differences are those between what the two readers made of a document.
func differences(a, b *Receipt) string { return cmp.Diff(a, b, cmp.AllowUnexported(Usage{})) }

// pageAgrees reads a document as a page; if it is one, the general reader must find the same in every respect.
func pageAgrees(t *testing.T, raw []byte) (isPage bool) {
	t.Helper()
	p := readPage(raw)
	if p == nil {
		return false
	}
	doc, err := parse(raw)
	if err != nil {
		t.Fatalf("a page that is no document: %v\n%s", err, raw)
	}
	if again := canonical(doc); !bytes.Equal(again, raw) {
		t.Fatalf("a page that is not canonical\n%s\nwant\n%s", raw, again)
	}
	if want := canonical(doc.without("signature")); !bytes.Equal(p.signed(nil), want) {
		t.Fatalf("signed\n%s\nwant\n%s", p.signed(nil), want)
	}
	d, general := &Document{page: p}, readAny(raw)
	if d.seal() != general.seal() || d.Cites() != general.Cites() {
		t.Fatalf("%+v and %+v\nwant %+v and %+v", d.seal(), d.Cites(), general.seal(), general.Cites())
	}
	want, err := general.receipt()
	if err != nil {
		t.Fatalf("a page that is no receipt: %v", err)
	}
	if diff := differences(want, &p.Receipt); diff != "" {
		t.Fatal(diff)
	}
	return true
}

// specimens are receipts that use every form of every member.
func specimens() map[string]*Receipt {
	served := func() *Receipt {
		return &Receipt{
			ID: "id", ChatID: "chat", Model: "m", KeysetDigest: "sha256:0", Endpoint: "/v1/x", ServedAt: 1795000000,
			RequestHash: SHA256(nil), ForwardedHash: SHA256([]byte("f")), ResponseHash: SHA256([]byte("r")),
			Verified: Verified{OK: true, Required: true, Model: "m", SessionID: "s"}, Worker: &Worker{SC: "0:1", SPKI: "k", Image: "i", Engine: "e"},
			Usage: Usage{
				Source: "engine", Tokens: pricing.Tokens{Prompt: 9, Cached: 4, Completion: 7, Reasoning: 2}, Coefficient: 1000, Reserved: 100, Price: 3,
				Multipliers: pricing.Multipliers{Prompt: 10_000, Cached: 5_000, Completion: 20_000, Reasoning: 10_000}, ConfigVersion: 1, ParamsVersion: 2,
				Billed: pricing.Billed{Prompt: 5, Cached: 4, Completion: 5, Reasoning: 2}, Cost: math.MaxUint64, claimedTokens: 16, claimedTotal: 16,
			},
			Statement: &Statement{KeyID: "w", ResponseHash: "h", ProxyPings: 1, Served: 5, Status: Complete, Signature: bytes.Repeat([]byte{0xa5}, ed25519.SignatureSize)},
			Channel:   Channel{ProxySC: "0:2", ClientSC: "0:3", ProxyKey: bytes.Repeat([]byte{0x5a}, ed25519.PublicKeySize), Test: true, LedgerSeq: 8, Total: 90},
			Outcome:   Outcome{Status: Complete, HTTPStatus: 200, FinishReason: "stop", Bytes: 1 << 40, Events: 3, Retries: 1, TTFT: 0, Duration: maxInteger},
		}
	}
	with := func(change func(*Receipt)) *Receipt {
		r := served()
		change(r)
		return r
	}
	return map[string]*Receipt{
		"served":       served(),
		"no chat id":   with(func(r *Receipt) { r.ChatID = "" }),
		"no statement": with(func(r *Receipt) { r.Statement = nil }),
		"cut":          with(func(r *Receipt) { r.Usage.Cut, r.Usage.claimedTotal = 6, 10 }),
		"estimated":    with(func(r *Receipt) { r.Usage.Source, r.Usage.Estimated = "counted", true }),
		"no first":     with(func(r *Receipt) { r.Outcome.TTFT = -1 }),
		"failed": with(func(r *Receipt) {
			r.Verified = Verified{Model: "m", Reason: "no worker"}
			r.ForwardedHash, r.Worker, r.Statement = "", nil, nil
			r.Outcome.Status, r.Outcome.ErrorCode, r.Outcome.FinishReason = Refused, "no_worker", ""
		}),
		"worker that got nothing": with(func(r *Receipt) { r.ForwardedHash = "" }),
	}
}

// TestWhatIsSignedIsAPage: every form that a receipt of ours takes is canonical, is read by the fast reader, and says the
// same to both readers as was written. The general reader and writer are the judges.
func TestWhatIsSignedIsAPage(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range specimens() {
		t.Run(name, func(t *testing.T) {
			raw := r.Sign("k", key)
			if !pageAgrees(t, raw) {
				t.Fatalf("not a page: %s", raw)
			}
			p := readPage(raw)
			if diff := differences(r, &p.Receipt); diff != "" {
				t.Errorf("written and read: %s", diff)
			}
			if signature, err := hex.DecodeString(p.signature); err != nil || !ed25519.Verify(ed25519.PublicKey(key[32:]), p.signed(nil), signature) || p.keyID != "k" {
				t.Error("the signature is not over what is left when it is taken out")
			}
		})
	}
}

// TestOddNamesAreSignedInCanonicalForm: what cannot stand as it is is escaped, and read by the general reader alone.
func TestOddNamesAreSignedInCanonicalForm(t *testing.T) {
	for _, name := range []string{"modèle", "a\"b", `a\b`, "a\x00b", "<&>\u2028", "seven77\x1f", "sixteen-letters-\""} {
		r := specimens()["served"]
		r.Model = name
		raw := r.Sign("k", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
		doc, err := parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		model, _ := doc.get("model")
		if again := canonical(doc); !bytes.Equal(again, raw) || model.text != name || pageAgrees(t, raw) {
			t.Errorf("%q is written as %s", name, raw)
		}
	}
}

// TestAStatementIsCanonical: the general writer writes what workers sign in the same way.
func TestAStatementIsCanonical(t *testing.T) {
	raw := WorkerStatement{
		RequestID: "id", RequestHash: "a", ResponseHash: "b\n", Status: Cancelled, ServedAt: 7, WorkerSC: "0:é",
		Tokens: pricing.Tokens{Prompt: 1, Cached: 2, Completion: 3, Reasoning: 4},
	}.Bytes()
	doc, err := parse(raw)
	if err != nil || !bytes.Equal(canonical(doc), raw) || len(doc) != 11 {
		t.Errorf("%s: %v", raw, err)
	}
}

// TestWhatIsNoPage: one deviation from the canonical form is enough, whether the document is still a good one or not.
func TestWhatIsNoPage(t *testing.T) {
	raw := string(specimens()["served"].Sign("k", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))))
	for name, change := range oddities() {
		odd := change(raw)
		if odd == raw {
			t.Errorf("%s changes nothing", name)
		}
		if readPage([]byte(odd)) != nil {
			t.Errorf("%s is a page: %s", name, odd)
		}
	}
	for n := range raw {
		if readPage([]byte(raw[:n])) != nil {
			t.Errorf("a page of %d bytes of %d", n, len(raw))
		}
	}
}

// oddities turn a page into something else.
func oddities() map[string]func(string) string {
	put := func(before, after string) func(string) string {
		return func(s string) string { return strings.Replace(s, before, after, 1) }
	}
	return map[string]func(string) string{
		"space":                func(s string) string { return s + " " },
		"space inside":         put(`,"chat_id"`, `, "chat_id"`),
		"trailing":             func(s string) string { return s + s },
		"version":              put(`aci/1`, `aci/2`),
		"method":               put(`POST`, `GET`),
		"another order":        put(`"api_version":"aci/1","chat_id":"chat"`, `"chat_id":"chat","api_version":"aci/1"`),
		"unknown member":       put(`,"endpoint"`, `,"e":1,"endpoint"`),
		"unknown event":        put(`"event_log":[`, `"event_log":[{"type":"x"},`),
		"event twice":          put(`,{"client_sc"`, `,{"body_hash":"x","type":"response.returned"},{"client_sc"`),
		"no worker":            put(`{"engine":"e","image_hash":"i","tls_spki_sha256":"k","type":"cocoon.worker","worker_sc":"0:1"},`, ``),
		"escape":               put(`"model":"m"`, `"model":"\u006d"`),
		"control":              put(`"model":"m"`, "\"model\":\"\n\""),
		"not ASCII":            put(`"model":"m"`, `"model":"é"`),
		"not UTF-8":            put(`"model":"m"`, "\"model\":\"\xff\""),
		"not a string":         put(`"model":"m"`, `"model":1`),
		"null":                 put(`"model":"m"`, `"model":null`),
		"fraction":             put(`"http_status":200`, `"http_status":200.0`),
		"exponent":             put(`"http_status":200`, `"http_status":2e2`),
		"leading zero":         put(`"http_status":200`, `"http_status":0200`),
		"minus zero":           put(`"http_status":200`, `"http_status":-0`),
		"negative":             put(`"http_status":200`, `"http_status":-200`),
		"no number":            put(`"http_status":200`, `"http_status":`),
		"number as text":       put(`"http_status":200`, `"http_status":"200"`),
		"beyond 2^53":          put(`"http_status":200`, `"http_status":9007199254740992`),
		"far beyond":           put(`"http_status":200`, `"http_status":99999999999999999999999`),
		"cost of 65 bits":      put(`"cost_nano":"18446744073709551615"`, `"cost_nano":"18446744073709551616"`),
		"cost with zero":       put(`"tokens_total":"90"`, `"tokens_total":"090"`),
		"cost without digits":  put(`"tokens_total":"90"`, `"tokens_total":""`),
		"cost as number":       put(`"tokens_total":"90"`, `"tokens_total":90`),
		"flag":                 put(`"required":true`, `"required":1`),
		"short key":            put(`5a5a`, `5a`),
		"key not hexadecimal":  put(`5a5a`, `5x5a`),
		"result":               put(`"verified","session`, `"maybe","session`),
		"reason of a verified": put(`"required":true`, `"reason":"","required":true`),
	}
}

// resigned is a document with the signature that the proxy of the vectors would give it, where it is a document at all.
func resigned(raw []byte, key ed25519.PrivateKey) []byte {
	doc, err := parse(raw)
	if err != nil {
		return raw
	}
	doc = doc.without("signature")
	return canonical(append(doc, text("signature", hex.EncodeToString(ed25519.Sign(key, canonical(doc))))))
}

// FuzzReaders: both readers come to the same verdict, for the same reason, on every document: as it is, and signed by the
// proxy, whoever it is from.
func FuzzReaders(f *testing.F) {
	v, ctx := load(f)
	for i, c := range v.Receipts {
		f.Add(uint8(i), []byte(c.Document))
		for _, change := range oddities() {
			f.Add(uint8(i), []byte(change(c.Document)))
		}
	}
	key := seed(f, v, "proxy_receipt_seed")
	f.Fuzz(func(t *testing.T, n uint8, raw []byte) {
		c := v.Receipts[int(n)%len(v.Receipts)]
		ctx.Request, ctx.Response = []byte(c.Request), []byte(c.Response)
		for _, doc := range [][]byte{raw, resigned(raw, key)} {
			pageAgrees(t, doc)
			got, err := Read(doc).Verify(ctx)
			want, wantErr := readAny(doc).Verify(ctx)
			if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("verdict %v, want %v, on\n%s", err, wantErr, doc)
			}
			if diff := differences(want, got); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
