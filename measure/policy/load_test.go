package policy_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/strictjson"
	"cocoon/measure/tdx"
)

var update = flag.Bool("update", false, "write the golden files")

// TestDefaultsAreGolden: what a policy means that names only its type is a promise; a change must show in a diff.
func TestDefaultsAreGolden(t *testing.T) {
	for _, typ := range []policy.Type{policy.Any, policy.TDX, policy.FakeTDX, policy.SGX} {
		p, err := policy.Parse([]byte(`{"type":"` + string(typ) + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if builtin, err := policy.Builtin(typ).Encode(); err != nil || string(builtin) != string(got) {
			t.Errorf("the builtin policy of type %s is not that of an empty document (%v)", typ, err)
		}
		path := filepath.Join("testdata", "defaults."+string(typ)+".json")
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
}

// everything is a document with every key of type tdx, none at its default.
const everything = `{
  "type": "tee",
  "allowed_image_hashes": ["` + hash1 + `"],
  "allowed_image_hash": "` + hash2 + `",
  "allowed_mrtd": ["` + digest1 + `"],
  "allowed_rtmr": [["` + digest1 + `", "` + digest1 + `", "` + digest1 + `", "` + digest1 + `"]],
  "allowed_collateral_root_hashes": ["` + digest1 + `"],
  "allow_simulated": true,
  "td_attributes": {"must_one": "0x0", "may_one": "0x8000000050000000"},
  "xfam": {"may_one": "0x7"},
  "mr_seam": ["` + digest1 + `"],
  "mr_signer_seam": "` + digest1 + `",
  "seam_attributes": "0xA",
  "mr_service_td": ["` + digest1 + `"],
  "tcb": {"accepted": ["OutOfDate"], "advisories": ["INTEL-SA-00289"], "grace_days": 7, "min_evaluation_number": 17},
  "fmspc": {"allow": ["90C06F000000"], "deny": ["000000000000"]},
  "ppid": {"deny": ["0102030405060708090a0b0c0d0e0f10"]},
  "piid": {"allow": ["0102030405060708090a0b0c0d0e0f10"]},
  "max_cert_lifetime": "90m",
  "max_quote_age": "1h",
  "require_v2": true,
  "role": "proxy",
  "network_id": -239
}`

const (
	hash1   = "0101010101010101010101010101010101010101010101010101010101010101"
	hash2   = "0202020202020202020202020202020202020202020202020202020202020202"
	digest1 = "010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101"
)

func TestEveryKeyIsRead(t *testing.T) {
	p, err := policy.Parse([]byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	one, role, network := digest(1), policy.RoleProxy, int32(-239)
	id := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	var hash [2]tdx.Hash
	for i := range hash {
		for j := range hash[i] {
			hash[i][j] = byte(i + 1)
		}
	}
	want := policy.Rules{
		Type: policy.TDX, ImageSource: policy.FromList,
		AllowedImages: hash[:], AllowedMRTD: []tdx.Digest{one}, AllowedRTMR: [][4]tdx.Digest{{one, one, one, one}},
		CollateralRoots: []dcap.RootID{dcap.RootID(one)}, AllowSimulated: true,
		TDAttributes: policy.Mask{MustOne: 0, MayOne: 0x8000000050000000}, XFAM: policy.Mask{MustOne: 3, MayOne: 7},
		MRSEAM: []tdx.Digest{one}, MRSignerSEAM: one, SEAMAttributes: 10, MRServiceTD: []tdx.Digest{one},
		TCB: policy.TCB{
			Accepted: []dcap.Status{dcap.OutOfDate}, Advisories: []string{"INTEL-SA-00289"}, GraceDays: 7, MinEvaluationNumber: 17,
		},
		FMSPC:           policy.Filter[[6]byte]{Allow: [][6]byte{{0x90, 0xc0, 0x6f}}, Deny: [][6]byte{{}}},
		PPID:            policy.Filter[[16]byte]{Deny: [][16]byte{id}},
		PIID:            policy.Filter[[16]byte]{Allow: [][16]byte{id}},
		Claims:          policy.ClaimRules{Require: true, Role: &role, NetworkID: &network, MaxQuoteAge: time.Hour},
		MaxCertLifetime: 90 * time.Minute,
	}
	if d := cmp.Diff(want, p.Rules()); d != "" {
		t.Error(d)
	}
	if p.Type() != policy.TDX || p.ImageSource() != policy.FromList {
		t.Errorf("type %s, source %s", p.Type(), p.ImageSource())
	}
	text, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := policy.Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d := cmp.Diff(p.Rules(), again.Rules()); d != "" {
		t.Errorf("the encoded policy differs: %s", d)
	}
}

// TestOtherDocuments: what the reference implementation's configurations hold, and the other types.
func TestOtherDocuments(t *testing.T) {
	for name, doc := range map[string]string{
		"one hash as a string":        `{"type":"tdx","allowed_image_hashes":"` + hash1 + `"}`,
		"upper case hex":              `{"type":"tdx","allowed_image_hashes":"` + strings.ToUpper(hash1[:62]) + `AB"}`,
		"empty lists":                 `{"type":"tdx","allowed_image_hashes":[],"allowed_mrtd":[],"allowed_rtmr":[]}`,
		"chain":                       `{"type":"tdx","image_source":"chain","allowed_mrtd":["` + digest1 + `"]}`,
		"defer":                       `{"type":"tee","image_source":"defer"}`,
		"Intel's root, named":         `{"type":"tdx","allowed_collateral_root_hashes":["` + dcap.IntelRootID().String() + `"]}`,
		"any":                         `{"type":"any","require_v2":true,"role":"client"}`,
		"fake":                        `{"type":"fake_tee","max_cert_lifetime":"1h"}`,
		"enclaves":                    `{"type":"sgx","allowed_mrenclave":["` + hash1 + `"],"tcb":{"advisories":["INTEL-SA-00289","INTEL-DOC-1"]}}`,
		"a number as large as can be": `{"type":"tdx","td_attributes":{"may_one":"0xffffffffffffff00"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			p, err := policy.Parse([]byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			text, err := p.Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := policy.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(p.Rules(), again.Rules()); d != "" {
				t.Error(d)
			}
		})
	}
	p, err := policy.ParseConfig(policy.TDX, []byte(`{"allowed_image_hash":"`+hash1+`"}`))
	if err != nil || p.Type() != policy.TDX || len(p.Rules().AllowedImages) != 1 {
		t.Errorf("policy %v (%v)", p, err)
	}
	if _, err := policy.ParseConfig("tda", []byte(`{}`)); err == nil {
		t.Error("type tda was accepted")
	}
	if _, err := policy.ParseConfig(policy.TDX, []byte(`{"type":"any"}`)); err == nil {
		t.Error("a tdx_config may change its type")
	}
}

// TestLoadErrors: each document breaks one rule, and the error names the key and the rule.
func TestLoadErrors(t *testing.T) {
	tdxWith := func(member string) string { return `{"type":"tdx",` + member + `}` }
	noImage := tdx.ImageHash(&tdx.Measurements{}).String()
	for name, tc := range map[string]struct{ doc, want string }{
		"no document":          {``, "reading policy"},
		"an array":             {`[]`, "an array, want an object"},
		"no type":              {`{}`, `no key "type"`},
		"type misspelt":        {`{"type":"TDX"}`, `type: policy type "TDX" is none of`},
		"type of another type": {`{"type":1}`, "type: a number, want a string"},
		"trailing document":    {`{"type":"tdx"} {}`, "after the document"},
		"too large":            {`{"type":"` + strings.Repeat("x", 1<<20) + `"}`, "at most 1048576"},
		"unknown key":          {tdxWith(`"allowed_images":[]`), "allowed_images: unknown key"},
		"case variant":         {tdxWith(`"Allowed_MRTD":[]`), `Allowed_MRTD: unknown key; keys are case-sensitive, this one is "allowed_mrtd"`},
		"unknown nested key":   {tdxWith(`"tcb":{"accept":["UpToDate"]}`), "tcb.accept: unknown key"},
		"nested case variant":  {tdxWith(`"fmspc":{"Deny":[]}`), `fmspc.Deny: unknown key; keys are case-sensitive, this one is "deny"`},
		"duplicate key":        {tdxWith(`"require_v2":true,"require_v2":false`), `duplicate key "require_v2"`},
		"nested duplicate":     {tdxWith(`"xfam":{"may_one":"0x7","may_one":"0x3"}`), `duplicate key "may_one"`},
		"null":                 {tdxWith(`"allowed_mrtd":null`), "allowed_mrtd: null, want an array"},
		"null hash": {
			tdxWith(`"allowed_image_hashes":null`),
			"allowed_image_hashes: null, want an array",
		},
		"wrong type of list": {
			tdxWith(`"allowed_mrtd":"` + digest1 + `"`),
			"allowed_mrtd: a string, want an array",
		},
		"wrong type of member": {
			tdxWith(`"allowed_image_hashes":["` + hash1 + `",7]`),
			"allowed_image_hashes[1]: a number, want a string",
		},
		"wrong type of object": {tdxWith(`"tcb":[]`), "tcb: an array, want an object"},
		"wrong type of boolean": {
			tdxWith(`"require_v2":"true"`),
			"require_v2: a string, want true or false",
		},
		"boolean as number": {
			tdxWith(`"allow_simulated":1`),
			"allow_simulated: a number, want true or false",
		},
		"wrong type of number": {
			tdxWith(`"tcb":{"grace_days":"7"}`),
			"tcb.grace_days: a string, want a number",
		},
		"empty string": {
			tdxWith(`"allowed_image_hash":""`),
			"allowed_image_hash: an empty string",
		},
		"empty string in list": {tdxWith(`"allowed_mrtd":[""]`), "allowed_mrtd[0]: an empty string"},
		"short hash": {
			tdxWith(`"allowed_image_hash":"` + hash1[1:] + `"`),
			"allowed_image_hash: 63 characters, want 64 hex digits",
		},
		"long digest": {
			tdxWith(`"mr_signer_seam":"` + digest1 + `0"`),
			"mr_signer_seam: 97 characters, want 96 hex digits",
		},
		"hash with 0x": {
			tdxWith(`"allowed_image_hash":"0x` + hash1[2:] + `"`),
			"allowed_image_hash: decoding hex",
		},
		"not hex": {
			tdxWith(`"fmspc":{"allow":["90c06f00000g"]}`),
			"fmspc.allow[0]: decoding hex",
		},
		"FMSPC length": {
			tdxWith(`"fmspc":{"deny":["90c06f"]}`),
			"fmspc.deny[0]: 6 characters, want 12",
		},
		"PPID length": {
			tdxWith(`"ppid":{"deny":["90c06f000000"]}`),
			"ppid.deny[0]: 12 characters, want 32",
		},
		"three registers": {
			tdxWith(`"allowed_rtmr":[["` + digest1 + `","` + digest1 + `","` + digest1 + `"]]`),
			"allowed_rtmr[0]: 3 registers",
		},
		"register of a register": {
			tdxWith(`"allowed_rtmr":["` + digest1 + `"]`),
			"allowed_rtmr[0]: a string, want an array",
		},
		"zero image": {
			tdxWith(`"allowed_image_hash":"` + strings.Repeat("0", 64) + `"`),
			"without measurements",
		},
		"image of zero registers": {
			tdxWith(`"allowed_image_hashes":["` + noImage + `"]`),
			"without measurements",
		},
		"zero MRTD": {
			tdxWith(`"allowed_mrtd":["` + strings.Repeat("0", 96) + `"]`),
			"allowed_mrtd: lists zero",
		},
		"unknown image source": {tdxWith(`"image_source":"file"`), `image_source: image source "file" is none of`},
		"list and chain": {
			tdxWith(`"image_source":"chain","allowed_image_hash":"` + hash1 + `"`),
			"not read with image_source chain",
		},
		"list and defer": {
			tdxWith(`"image_source":"defer","allowed_image_hash":"` + hash1 + `"`),
			"not read with image_source defer",
		},
		"no root": {
			tdxWith(`"allowed_collateral_root_hashes":[]`),
			"allowed_collateral_root_hashes: an empty list",
		},
		"foreign root": {tdxWith(`"allowed_collateral_root_hashes":["` + digest1 + `"]`), `that needs "allow_simulated": true`},
		"debug wanted": {
			tdxWith(`"td_attributes":{"must_one":"0x10000001","may_one":"0x10000001"}`),
			"a TD under debug is always refused",
		},
		"debug allowed": {
			tdxWith(`"td_attributes":{"may_one":"0x10000001"}`),
			"a TD under debug is always refused",
		},
		"another TUD bit allowed": {
			tdxWith(`"td_attributes":{"may_one":"0x10000080"}`),
			"a TD under debug is always refused",
		},
		"bits as bytes":  {tdxWith(`"td_attributes":{"may_one":"0000001000000000"}`), `td_attributes.may_one: "0000001000000000", want a number like`},
		"bits beyond 64": {tdxWith(`"xfam":{"may_one":"0x10000000000000000"}`), "xfam.may_one"},
		"bits as number": {
			tdxWith(`"xfam":{"may_one":7}`),
			"xfam.may_one: a number, want a string",
		},
		"must without may, TD": {tdxWith(`"td_attributes":{"must_one":"0x30000000"}`), "td_attributes: must_one has bits that may_one lacks"},
		"must without may": {
			tdxWith(`"xfam":{"must_one":"0x18"}`),
			"xfam: must_one has bits that may_one lacks",
		},
		"no module":                  {tdxWith(`"mr_seam":[]`), "mr_seam: an empty list"},
		"no service TD, not even no": {tdxWith(`"mr_service_td":[]`), "mr_service_td: an empty list"},
		"nothing accepted":           {tdxWith(`"tcb":{"accepted":[]}`), "tcb.accepted: an empty list"},
		"unknown status":             {tdxWith(`"tcb":{"accepted":["uptodate"]}`), "tcb.accepted[0]"},
		"revoked accepted": {
			tdxWith(`"tcb":{"accepted":["UpToDate","Revoked"]}`),
			"never acceptable",
		},
		"unrecognized accepted": {tdxWith(`"tcb":{"accepted":["Unrecognized"]}`), "never acceptable"},
		"text too long": {
			tdxWith(`"tcb":{"advisories":["INTEL-SA-` + strings.Repeat("0", 248) + `"]}`),
			"tcb.advisories[0]: 257 characters, at most 256",
		},
		"no advisory": {
			tdxWith(`"tcb":{"advisories":["SA-00289"]}`),
			"not an id like INTEL-SA-00289",
		},
		"negative grace": {
			tdxWith(`"tcb":{"grace_days":-1}`),
			"tcb.grace_days: -1, want an integer from 0",
		},
		"endless grace": {tdxWith(`"tcb":{"grace_days":3651}`), "want an integer from 0 to 3650"},
		"grace with an exponent": {
			tdxWith(`"tcb":{"grace_days":1e2}`),
			"tcb.grace_days: 1e2, want an integer",
		},
		"half an evaluation": {
			tdxWith(`"tcb":{"min_evaluation_number":17.5}`),
			"tcb.min_evaluation_number: 17.5, want an integer",
		},
		"empty allow": {tdxWith(`"piid":{"allow":[]}`), "piid.allow: an empty list"},
		"lifetime as number": {
			tdxWith(`"max_cert_lifetime":90000`),
			"max_cert_lifetime: a number, want a string",
		},
		"lifetime without unit": {tdxWith(`"max_cert_lifetime":"25"`), `max_cert_lifetime: "25" is not a duration`},
		"lifetime zero":         {tdxWith(`"max_cert_lifetime":"0s"`), "max_cert_lifetime: is 0s"},
		"lifetime of ages": {
			tdxWith(`"max_cert_lifetime":"300000h"`),
			"max_cert_lifetime: is 300000h0m0s",
		},
		"age negative":   {tdxWith(`"max_quote_age":"-1h"`), "max_quote_age: is -1h"},
		"unknown role":   {tdxWith(`"role":"miner"`), `role: role "miner" is none of`},
		"role as number": {tdxWith(`"role":2`), "role: a number, want a string"},
		"network beyond 32 bits": {
			tdxWith(`"network_id":2147483648`),
			"network_id: 2147483648, want an integer",
		},
		"enclaves and defer": {
			`{"type":"sgx","image_source":"defer","allowed_mrenclave":["` + hash1 + `"]}`,
			"not read with image_source defer",
		},
		"enclaves of the chain": {`{"type":"sgx","image_source":"chain"}`, "type sgx has no source chain"},
		"images under any": {
			`{"type":"any","allowed_image_hash":"` + hash1 + `"}`,
			"allowed_image_hash: means nothing under type any",
		},
		"images under fake": {
			`{"type":"fake_tdx","allowed_image_hash":"` + hash1 + `"}`,
			"means nothing under type fake_tdx",
		},
		"images under sgx": {
			`{"type":"sgx","allowed_mrtd":[]}`,
			"allowed_mrtd: means nothing under type sgx",
		},
		"enclaves under tdx": {
			tdxWith(`"allowed_mrenclave":["` + hash1 + `"]`),
			"means nothing under type tdx",
		},
		"zero enclave": {
			`{"type":"sgx","allowed_mrenclave":["` + strings.Repeat("0", 64) + `"]}`,
			"allowed_mrenclave: lists zero",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := policy.Parse([]byte(tc.doc))
			if err == nil || !strings.Contains(err.Error(), tc.want) || p != nil {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	_, err := policy.Parse([]byte(`{"type":"tdx","a":1,"require_v2":"x","tcb":{"grace_days":-1,"b":0},"allowed_mrtd":["x"]}`))
	for _, part := range []string{"a: unknown key", "require_v2", "tcb.grace_days", "tcb.b", "allowed_mrtd[0]"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not list %s: %v", part, err)
		}
	}
	if _, err := policy.Parse([]byte(`{"a":1,"a":2}`)); !errors.Is(err, strictjson.ErrSyntax) {
		t.Errorf("%v is not a syntax error", err)
	}
	long := `["` + strings.Repeat(digest1+`","`, 4096) + digest1 + `"]`
	if _, err := policy.ParseConfig(policy.TDX, []byte(`{"allowed_mrtd":`+long+`}`)); err == nil || !strings.Contains(err.Error(), "at most 4096") {
		t.Errorf("4097 entries: %.200v", err)
	}
}
