package receipt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cocoon/contracts/pricing"
	"cocoon/tests/golden"
)

// ours is receipt_usage.json.
type ours struct {
	Keys    map[string]string `json:"keys"`
	Context struct {
		ClientSC      string `json:"client_sc"`
		ProxySC       string `json:"proxy_sc"`
		Price         string `json:"price_per_token_nano"`
		ConfigVersion int64  `json:"config_version"`
		ParamsVersion int64  `json:"params_version"`
	} `json:"context"`
	Keyset       string `json:"keyset_jcs"`
	KeysetDigest string `json:"keyset_digest"`
	Statements   []struct {
		Nonce      *string `json:"nonce"`
		ReportData string  `json:"report_data"`
	} `json:"statements"`
	Session   string `json:"session_jcs"`
	SessionID string `json:"session_id"`
	Receipts  []struct {
		Name         string `json:"name"`
		Expect       string `json:"expect"`
		Request      string `json:"request_body"`
		Response     string `json:"response_body"`
		Document     string `json:"document"`
		SigningInput string `json:"signing_input"`
		Statement    string `json:"worker_statement"`
	} `json:"receipts"`
}

func load(tb testing.TB) (v ours, ctx Context) {
	tb.Helper()
	golden.JSON(tb, "inference/receipt_usage.json", &v)
	keyset, err := ParseKeyset([]byte(v.Keyset))
	if err != nil {
		tb.Fatal(err)
	}
	session, err := ParseSession([]byte(v.Session))
	if err != nil {
		tb.Fatal(err)
	}
	terms := Terms{Multipliers: pricing.Multipliers{Prompt: 10_000, Cached: 1000, Completion: 20_000, Reasoning: 30_000}}
	if terms.Price, err = strconv.ParseUint(v.Context.Price, 10, 64); err != nil {
		tb.Fatal(err)
	}
	ctx = Context{
		Keysets: map[string]*Keyset{keyset.Digest(): keyset},
		Session: func(id string) *Session {
			if id != session.ID {
				return nil
			}
			return session
		},
		Terms: func(config, params int64) (Terms, bool) {
			return terms, config == v.Context.ConfigVersion && params == v.Context.ParamsVersion
		},
		ClientSC: v.Context.ClientSC, ProxySC: v.Context.ProxySC, MaxCoefficient: 1500,
	}
	return v, ctx
}

func seed(tb testing.TB, v ours, name string) ed25519.PrivateKey {
	tb.Helper()
	raw, err := hex.DecodeString(v.Keys[name])
	if err != nil || len(raw) != ed25519.SeedSize {
		tb.Fatalf("seed %s: %v", name, err)
	}
	return ed25519.NewKeyFromSeed(raw)
}

// TestReceipts: every document has its verdict, and every valid one is what we would sign from the same facts.
func TestReceipts(t *testing.T) {
	v, ctx := load(t)
	for _, c := range v.Receipts {
		t.Run(c.Name, func(t *testing.T) {
			ctx.Request, ctx.Response = []byte(c.Request), []byte(c.Response)
			r, err := Verify([]byte(c.Document), ctx)
			if want := strings.TrimPrefix(c.Expect, "ok"); string(ClassOf(err)) != want || (err == nil) != (want == "") {
				t.Fatalf("err = %v, want %s", err, c.Expect)
			}
			if err != nil || c.SigningInput == "" {
				return
			}
			if got := r.Sign("r-20261118-1", seed(t, v, "proxy_receipt_seed")); string(got) != c.Document {
				t.Errorf("we sign\n%s\nthe vector is\n%s", got, c.Document)
			}
			if c.Statement == "" {
				return
			}
			signed := WorkerStatement{
				RequestID: r.ID, RequestHash: r.ForwardedHash, ResponseHash: r.Statement.ResponseHash, Status: r.Statement.Status,
				ServedAt: r.Statement.Served, WorkerSC: r.Worker.SC, Tokens: r.Usage.Tokens,
			}.Bytes()
			if string(signed) != c.Statement {
				t.Errorf("statement\n%s\nwant\n%s", signed, c.Statement)
			}
			if got := ed25519.Sign(seed(t, v, "worker_receipt_seed"), signed); !bytes.Equal(got, r.Statement.Signature) {
				t.Errorf("signature %x, want %x", got, r.Statement.Signature)
			}
		})
	}
}

// TestDocumentsStandForTheirReceiptAlone: a keyset for the proxy that it names, a session until its end. Both are as good as
// the vectors' else.
func TestDocumentsStandForTheirReceiptAlone(t *testing.T) {
	v, ctx := load(t)
	c := v.Receipts[0]
	ctx.Request, ctx.Response = []byte(c.Request), []byte(c.Response)
	keyset, session := *ctx.Keysets[v.KeysetDigest], *ctx.Session(v.SessionID)
	served := Read([]byte(c.Document)).seal().served
	for name, tc := range map[string]struct {
		subject string
		until   time.Duration // from when the receipt was signed
		want    Class
	}{
		"as they are":            {keyset.Subject, time.Hour, ""},
		"at the session's end":   {keyset.Subject, 0, ""},
		"after its end":          {keyset.Subject, -time.Second, SessionUnknown},
		"another proxy's keyset": {Subject("0:" + strings.Repeat("d4", 32)), time.Hour, ChannelMismatch},
		"another kind's":         {"dstack-app://example-app", time.Hour, ChannelMismatch},
		"the bare address":       {v.Context.ProxySC, time.Hour, ChannelMismatch},
		"nobody's":               {"", time.Hour, ChannelMismatch},
	} {
		k, s := keyset, session
		k.Subject, s.Until = tc.subject, time.Unix(served, 0).Add(tc.until)
		ctx.Keysets = map[string]*Keyset{v.KeysetDigest: &k}
		ctx.Session = func(string) *Session { return &s }
		if _, err := Verify([]byte(c.Document), ctx); ClassOf(err) != tc.want || (err == nil) != (tc.want == "") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestKeysetSessionAndStatementHaveTheirDigests(t *testing.T) {
	v, ctx := load(t)
	keyset, ok := ctx.Keysets[v.KeysetDigest]
	if !ok || ctx.Session(v.SessionID) == nil {
		t.Fatalf("keyset known: %v, session known: %v", ok, ctx.Session(v.SessionID) != nil)
	}
	for _, s := range v.Statements {
		var nonce *[NonceSize]byte
		if s.Nonce != nil {
			nonce = new([NonceSize]byte)
			if _, err := hex.Decode(nonce[:], []byte(*s.Nonce)); err != nil {
				t.Fatal(err)
			}
		}
		if got := ReportData(keyset.Digest(), nonce); hex.EncodeToString(got[:]) != s.ReportData {
			t.Errorf("report data %x, want %s", got, s.ReportData)
		}
	}
	key := seed(t, v, "proxy_receipt_seed").Public().(ed25519.PublicKey) //nolint:forcetypeassert // its type by definition
	if got := NewKeyset(keyset.Subject, keyset.NotAfter, "r-20261118-1", key, keyset.TLS); string(got) != v.Keyset {
		t.Errorf("keyset\n%s\nwant\n%s", got, v.Keyset)
	}
}

// TestThePublishedDraft: the vectors of the draft, made by other hands.
func TestThePublishedDraft(t *testing.T) {
	var v struct {
		Keyset    []struct{ JCS, Digest string } `json:"keyset"`
		Statement []struct {
			Nonce      *string `json:"nonce"`
			ReportData string  `json:"report_data"`
		} `json:"statement"`
		Session struct {
			JCS string `json:"jcs"`
			ID  string `json:"session_id"`
		} `json:"session"`
		Receipt struct {
			SigningInput string `json:"signing_input"`
			Sum          string `json:"signing_input_sha256"`
			Signature    string `json:"signature"`
		} `json:"receipt"`
		Key struct {
			Seed string `json:"seed_hex"`
		} `json:"receipt_key"`
	}
	golden.JSON(t, "inference/aci_v1.json", &v)
	again := func(text string) []byte {
		doc, err := parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		out := canonical(doc)
		if string(out) != text {
			t.Errorf("canonical form\n%s\nwant\n%s", out, text)
		}
		return out
	}
	for _, k := range v.Keyset {
		if got := SHA256(again(k.JCS)); got != k.Digest {
			t.Errorf("keyset %s, want %s", got, k.Digest)
		}
	}
	if got := SHA256(again(v.Session.JCS)); got != "sha256:"+v.Session.ID {
		t.Errorf("session %s", got)
	}
	input := again(v.Receipt.SigningInput)
	raw, err := hex.DecodeString(v.Key.Seed)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(ed25519.Sign(ed25519.NewKeyFromSeed(raw), input)); got != v.Receipt.Signature || SHA256(input) != "sha256:"+v.Receipt.Sum {
		t.Errorf("signature %s over %s", got, SHA256(input))
	}
}

// TestHexadecimalHasOneSpelling: what is valid in small letters is not in capitals, neither the signature, which nothing
// else covers, nor what is signed.
func TestHexadecimalHasOneSpelling(t *testing.T) {
	v, ctx := load(t)
	base := v.Receipts[0]
	ctx.Request, ctx.Response = []byte(base.Request), []byte(base.Response)
	capitals := func(doc, lead string, size int) string {
		at := strings.Index(doc, lead) + len(lead)
		return doc[:at] + strings.ToUpper(doc[at:at+2*size]) + doc[at+2*size:]
	}
	key := seed(t, v, "proxy_receipt_seed")
	for name, tc := range map[string]struct {
		doc  []byte
		want Class
	}{
		"signature":               {[]byte(capitals(base.Document, `"POST","model":"demo/model","receipt_id":"`+strings.Repeat("01", 32)+`","served_at":1795000000,"signature":"`, 64)), SignatureInvalid},
		"statement":               {resigned([]byte(capitals(base.Document, `"served_at":1795000000,"signature":"`, 64)), key), Malformed},
		"key that signs payments": {resigned([]byte(capitals(base.Document, `"proxy_key":"`, 32)), key), Malformed},
	} {
		for form, d := range map[string]*Document{"page": Read(tc.doc), "any": readAny(tc.doc)} {
			if _, err := d.Verify(ctx); ClassOf(err) != tc.want {
				t.Errorf("%s, %s: %v", name, form, err)
			}
		}
	}
}

func TestCanonicalStrings(t *testing.T) {
	for in, want := range map[string]string{
		"a\"\\/":                 `"a\"\\/"`,
		"\b\t\n\f\r\x00\x1f\x7f": `"\b\t\n\f\r\u0000\u001f` + "\x7f\"",
		"<>&\u2028é😀":            "\"<>&\u2028é😀\"",
	} {
		got := appendString(nil, in)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != in || string(got) != want {
			t.Errorf("%q: %s, want %s, %v", in, got, want, err)
		}
	}
}

func TestDocumentsThatAreMalformed(t *testing.T) {
	for name, doc := range map[string]string{
		"float": `{"a":1.5}`, "float that is whole": `{"a":1500.0}`, "exponent": `{"a":1e3}`, "beyond 2^53": `{"a":9007199254740992}`,
		"key": `{"é":1}`, "duplicate": `{"a":1,"a":1}`, "array": `[]`, "too large": `{"a":"` + strings.Repeat("x", MaxDocument) + `"}`,
	} {
		if _, err := Verify([]byte(doc), Context{}); ClassOf(err) != Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseKeyset([]byte(`{"subject":"x","not_after":"1"}`)); err == nil {
		t.Error("a keyset whose end is a string was read")
	}
	if _, err := ParseSession([]byte(`{"identity":{}}`)); err == nil {
		t.Error("a session without a worker was read")
	}
}

// TestEachFactIsBound: changing any fact of a valid receipt and signing it again with the proxy's key still ends in the
// class of that fact.
func TestEachFactIsBound(t *testing.T) {
	v, ctx := load(t)
	key := seed(t, v, "proxy_receipt_seed")
	base := v.Receipts[0]
	ctx.Request, ctx.Response = []byte(base.Request), []byte(base.Response)
	for name, tc := range map[string]struct {
		change func(*Receipt)
		want   Class
	}{
		"nothing":           {func(*Receipt) {}, ""},
		"request":           {func(r *Receipt) { r.RequestHash = SHA256(nil) }, RequestHash},
		"response":          {func(r *Receipt) { r.ResponseHash = SHA256(nil) }, ResponseHash},
		"bytes":             {func(r *Receipt) { r.Outcome.Bytes++ }, ResponseHash},
		"tokens":            {func(r *Receipt) { r.Usage.Tokens.Prompt++ }, UsageInconsistent},
		"tokens, billed":    {func(r *Receipt) { r.Usage.Tokens.Completion++; r.Usage.Meter() }, StatementInvalid},
		"coefficient":       {func(r *Receipt) { r.Usage.Coefficient += 100 }, UsageInconsistent},
		"source":            {func(r *Receipt) { r.Usage.Source = "counted" }, UsageInconsistent},
		"unknown source":    {func(r *Receipt) { r.Usage.Source = "guessed" }, UsageInconsistent},
		"cut too far":       {func(r *Receipt) { r.Usage.Cut = 10; r.Usage.Cost = 340 * 20 }, UsageInconsistent},
		"cost":              {func(r *Receipt) { r.Usage.Cost++ }, CostMismatch},
		"price":             {func(r *Receipt) { r.Usage.Price++; r.Usage.Meter() }, PriceMismatch},
		"multiplier":        {func(r *Receipt) { r.Usage.Multipliers.Completion *= 2; r.Usage.Meter() }, PriceMismatch},
		"dear worker":       {func(r *Receipt) { r.Usage.Coefficient++; r.Usage.Meter() }, PriceMismatch},
		"config version":    {func(r *Receipt) { r.Usage.ConfigVersion++ }, PriceMismatch},
		"reservation":       {func(r *Receipt) { r.Usage.Reserved = 349 }, OverReservation},
		"client":            {func(r *Receipt) { r.Channel.ClientSC = r.Channel.ProxySC }, ChannelMismatch},
		"proxy":             {func(r *Receipt) { r.Channel.ProxySC = r.Channel.ClientSC }, ChannelMismatch},
		"session":           {func(r *Receipt) { r.Verified.SessionID = strings.Repeat("0", 64) }, SessionUnknown},
		"image":             {func(r *Receipt) { r.Worker.Image = "00" }, WorkerMismatch},
		"engine":            {func(r *Receipt) { r.Worker.Engine = "x" }, WorkerMismatch},
		"forwarded":         {func(r *Receipt) { r.ForwardedHash = SHA256(nil) }, StatementInvalid},
		"no statement":      {func(r *Receipt) { r.Statement = nil }, StatementInvalid},
		"status":            {func(r *Receipt) { r.Statement.Status = Deadline }, StatementInvalid},
		"pings":             {func(r *Receipt) { r.Statement.ProxyPings = 1 }, StatementInvalid},
		"id":                {func(r *Receipt) { r.ID = strings.Repeat("0", 64) }, StatementInvalid},
		"worker unverified": {func(r *Receipt) { r.Verified = Verified{Reason: "x"} }, WorkerMismatch},
		"another model":     {func(r *Receipt) { r.Verified.Model = "demo/larger@0:1" }, WorkerMismatch},
		"nobody counted": {func(r *Receipt) {
			r.ForwardedHash, r.Worker, r.Statement, r.Verified = "", nil, nil, Verified{Reason: "x"}
		}, UsageInconsistent},
		"nobody counted, nothing billed": {func(r *Receipt) {
			r.ForwardedHash, r.Worker, r.Statement, r.Verified = "", nil, nil, Verified{Reason: "x"}
			r.Usage.Source, r.Usage.Tokens = "none", pricing.Tokens{}
			r.Usage.Meter()
		}, WorkerMismatch},
		"after the keyset": {func(r *Receipt) { r.ServedAt = 1795080001 }, KeysetExpired},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Verify([]byte(base.Document), ctx)
			if err != nil {
				t.Fatal(err)
			}
			tc.change(r)
			again, err := Verify(r.Sign("r-20261118-1", key), ctx)
			if ClassOf(err) != tc.want || (err == nil) != (tc.want == "") {
				t.Fatalf("err = %v, want %q", err, tc.want)
			}
			if err == nil && !cmp.Equal(r, again, cmpopts.IgnoreUnexported(Usage{})) {
				t.Error(cmp.Diff(r, again, cmpopts.IgnoreUnexported(Usage{})))
			}
		})
	}
}

// TestALostWorkerNeedNotSign: who was lost has signed nothing, and then no more is billed than the caller can see.
func TestALostWorkerNeedNotSign(t *testing.T) {
	v, ctx := load(t)
	key := seed(t, v, "proxy_receipt_seed")
	base := v.Receipts[0]
	ctx.Request, ctx.Response = []byte(base.Request), []byte("data: {}\n\ndata: {}\n\n: ping\n\ndata: {}")
	prompt := int64(len(ctx.Request)+3) / 4
	for name, tc := range map[string]struct {
		change func(*Receipt)
		want   Class
	}{
		"what was seen":    {func(*Receipt) {}, ""},
		"nothing":          {func(r *Receipt) { r.Usage.Source, r.Usage.Estimated, r.Usage.Tokens = "none", false, pricing.Tokens{} }, ""},
		"longer prompt":    {func(r *Receipt) { r.Usage.Tokens.Prompt++ }, StatementInvalid},
		"more events":      {func(r *Receipt) { r.Usage.Tokens.Completion++ }, StatementInvalid},
		"cached":           {func(r *Receipt) { r.Usage.Tokens.Cached = 1 }, StatementInvalid},
		"reasoning":        {func(r *Receipt) { r.Usage.Tokens.Reasoning = 1 }, StatementInvalid},
		"an engine's word": {func(r *Receipt) { r.Usage.Source, r.Usage.Estimated = "engine", false }, StatementInvalid},
		"a partial count":  {func(r *Receipt) { r.Usage.Source, r.Usage.Estimated = "engine_partial", false }, StatementInvalid},
		"complete":         {func(r *Receipt) { r.Outcome.Status = Complete }, StatementInvalid},
		"engine error":     {func(r *Receipt) { r.Outcome.Status = EngineError }, StatementInvalid},
		"deadline":         {func(r *Receipt) { r.Outcome.Status = Deadline }, StatementInvalid},
		"cancelled":        {func(r *Receipt) { r.Outcome.Status = Cancelled }, StatementInvalid},
		"another signed": {func(r *Receipt) {
			r.Statement = &Statement{KeyID: "w-2", Status: WorkerLost, ResponseHash: SHA256(nil), Signature: make([]byte, 64)}
		}, StatementInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			at := ctx
			at.Request, at.Response = []byte(base.Request), []byte(base.Response)
			r, err := Verify([]byte(base.Document), at)
			if err != nil {
				t.Fatal(err)
			}
			r.ResponseHash, r.Outcome.Bytes, r.Outcome.Status = SHA256(ctx.Response), int64(len(ctx.Response)), WorkerLost
			r.Usage.Source, r.Usage.Estimated, r.Statement = "counted", true, nil
			r.Usage.Tokens = pricing.Tokens{Prompt: prompt, Completion: 3}
			tc.change(r)
			r.Usage.Meter()
			if _, err := Verify(r.Sign("r-20261118-1", key), ctx); ClassOf(err) != tc.want || (err == nil) != (tc.want == "") {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

// TestACancelledReceiptCoversAPrefix: who left early has fewer bytes, and the receipt still holds. Of an answer that came to
// its end, no receipt can say that.
func TestACancelledReceiptCoversAPrefix(t *testing.T) {
	v, ctx := load(t)
	for _, c := range v.Receipts {
		if c.Expect != "ok" {
			continue
		}
		ctx.Request, ctx.Response = []byte(c.Request), []byte(c.Response)[:len(c.Response)-1]
		_, err := Verify([]byte(c.Document), ctx)
		if cancelled := strings.HasPrefix(c.Name, "cancelled"); (err == nil) != cancelled {
			t.Errorf("%s with a byte less: %v", c.Name, err)
		}
		whole := ctx
		whole.Whole = true
		if _, err := Verify([]byte(c.Document), whole); ClassOf(err) != ResponseHash {
			t.Errorf("%s with a byte less than all: %v", c.Name, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	v, ctx := load(f)
	for _, c := range v.Receipts {
		f.Add([]byte(c.Document))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		ctx.Request, ctx.Response = []byte(v.Receipts[0].Request), []byte(v.Receipts[0].Response)
		r, err := Verify(doc, ctx)
		if err != nil {
			if ClassOf(err) == "" {
				t.Fatalf("a verdict without a class: %v", err)
			}
			return
		}
		if r.RequestHash != SHA256(ctx.Request) || r.Usage.Total() > r.Usage.Reserved {
			t.Fatalf("%+v", r)
		}
	})
}

func FuzzDocuments(f *testing.F) {
	v, _ := load(f)
	f.Add([]byte(v.Keyset))
	f.Add([]byte(v.Session))
	for _, s := range []string{`{}`, `{"identity":{"receipt_key":"00"}}`, `{"a":[1,{"b":null}],"c":"\u0000\u2028"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, errKeyset := ParseKeyset(raw)
		_, errSession := ParseSession(raw)
		doc, err := parse(raw)
		if err != nil {
			if errKeyset == nil || errSession == nil {
				t.Fatal("a document that is not one was read")
			}
			return
		}
		again, err := parse(canonical(doc))
		if err != nil || !cmp.Equal(doc, again, cmp.AllowUnexported(member{}, value{}), cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b member) bool { return a.key < b.key })) {
			t.Fatalf("the canonical form says something else: %v", err)
		}
	})
}

// TestCitations: what a receipt refers to is what its verified form says; what is no receipt cites nothing.
func TestCitations(t *testing.T) {
	v, ctx := load(t)
	for _, one := range v.Receipts {
		ctx.Request, ctx.Response = []byte(one.Request), []byte(one.Response)
		r, err := Verify([]byte(one.Document), ctx)
		if err != nil {
			continue
		}
		got := Read([]byte(one.Document)).Cites()
		if want := (Citations{r.KeysetDigest, r.Verified.SessionID, r.Usage.ConfigVersion, r.Usage.ParamsVersion, true}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	for _, doc := range []string{"", "{", "[]", `{}`, `{"event_log":3,"workload_keyset_digest":[]}`, `{"event_log":[1,{"type":"upstream.verified"}]}`} {
		if got := Read([]byte(doc)).Cites(); got != (Citations{}) {
			t.Errorf("%s cites %+v", doc, got)
		}
	}
}
