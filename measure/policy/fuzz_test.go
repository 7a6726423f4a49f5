package policy_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/policy"
)

// FuzzParse: what is accepted is JSON, says what it means when it is written out again, and admits neither a peer
// without evidence nor a TD under debug.
func FuzzParse(f *testing.F) {
	for _, doc := range []string{
		everything, `{"type":"any"}`, `{"type":"tdx"}`, `{"type":"fake_tdx","require_v2":true}`, `{"type":"sgx","allowed_mrenclave":[]}`,
		`{"type":"tdx","image_source":"defer","td_attributes":{"must_one":"0x0","may_one":"0xffffffffffffff00"}}`,
		`{"type":"tdx","tcb":{"accepted":["UpToDate","OutOfDate"],"grace_days":30}}`, `{"Type":"tdx"}`, `{"type":null}`,
		`{"type":"tdx","fmspc":{"deny":["90c06f000000"],"deny":[]}}`,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policy.Parse(data)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted invalid JSON %q", data)
		}
		text, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := policy.Parse(text)
		if err != nil {
			t.Fatalf("the encoded policy is refused: %v\n%s", err, text)
		}
		if d := cmp.Diff(p.Rules(), again.Rules()); d != "" {
			t.Fatal(d)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(twice, text) {
			t.Fatalf("%s became %s (%v)", text, twice, err)
		}
		if v := p.Check(policy.Evidence{}, policy.Env{Now: now}); v.OK && p.Type() != policy.Any {
			t.Fatalf("nothing is admitted by %s", text)
		}
		debug := newPeer(policy.TDX)
		debug.ev.Quote.Quote.TD.TDAttributes[0] = 1
		if v := p.Check(debug.ev, debug.env); v.OK && p.Type() != policy.Any {
			t.Fatalf("a debug TD is admitted by %s", text)
		}
	})
}
