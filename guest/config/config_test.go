package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cocoon/measure/spec"
	"cocoon/measure/strictjson"
)

const (
	root        = "9e33dd337c353862c87356f37e63b926b2373dce1b46ecbeb347a52e9eca3047"
	proxyRole   = `{"role":"proxy"}`
	fullRole    = `{"role":"worker","model":{"id":"Qwen/Qwen3-0.6B@c1899de:` + root + `","format":"tar","data_blocks":200,"salt":"00ff","file":"m/model.gguf"}}`
	fullRuntime = `{"node":"rack-1.a","log_level":"debug","network":{"mode":"static","address":"10.0.0.5/24","gateway":"10.0.0.1","dns":["1.1.1.1","2606:4700::1111"]},` +
		`"ntp":["time.example.org","10.0.0.1","fd00::1"],"endpoints":{"seal":["seal.example.org:8443"],"collateral":["[fd00::2]:443"]},"engine":{"max_requests":64,"gpu_percent":90,"tp":2}}`
)

func TestMeasuredHoldsEveryField(t *testing.T) {
	got, err := ParseMeasured([]byte(fullRole))
	if err != nil {
		t.Fatal(err)
	}
	want := &Measured{
		Role:  "worker",
		Model: &Model{ID: "Qwen/Qwen3-0.6B@c1899de:" + root, Format: FormatTar, DataBlocks: 200, Salt: "00ff", File: "m/model.gguf"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r, err := got.Model.RootHash(); err != nil || r != root {
		t.Errorf("root = %q, %v", r, err)
	}
	if got.Model.HashStartBlock() != 201 || got.Model.HashBlocks() != 3 {
		t.Errorf("tree at %d, %d blocks", got.Model.HashStartBlock(), got.Model.HashBlocks())
	}
}

func TestRoleFilesThatAreRefused(t *testing.T) {
	model := func(id, salt, file, blocks string) string {
		return `{"role":"worker","model":{"id":"` + id + `","data_blocks":` + blocks + `,"salt":"` + salt + `","file":"` + file + `"}}`
	}
	good := "name@c:" + root
	tests := map[string]struct{ in, want string }{
		"empty":                 {``, "EOF"},
		"unknown role":          {`{"role":"router"}`, `role: "router" is none of`},
		"no role":               {`{}`, "role:"},
		"unknown key":           {`{"role":"proxy","debug":true}`, `unknown key "debug"`},
		"duplicate key":         {`{"role":"worker","role":"proxy"}`, "duplicate"},
		"trailing data":         {`{"role":"proxy"}{}`, "after the document"},
		"case-folded key":       {`{"Role":"proxy"}`, "unknown key"},
		"proxy with model":      {`{"role":"proxy","model":{"id":"` + good + `","data_blocks":1,"salt":""}}`, "model: a proxy"},
		"engine settings":       {`{"role":"worker","engine":{"args":["-c","9"]}}`, `unknown key "engine"`},
		"model without root":    {model("name@c", "", "", "1"), "model.id"},
		"model with short root": {model("name@c:"+root[2:], "", "", "1"), "model.id"},
		"model upper-case root": {model("name@c:"+strings.ToUpper(root), "", "", "1"), "model.id"},
		"no blocks":             {model(good, "", "", "0"), "model.data_blocks"},
		"too many blocks":       {model(good, "", "", "1099511627776"), "model.data_blocks"},
		"unknown format":        {model(good, `","format":"zip`, "", "1"), "model.format"},
		"odd salt":              {model(good, "0", "", "1"), "model.salt"},
		"salt with option":      {model(good, "00 1 x", "", "1"), "model.salt"},
		"absolute file":         {model(good, "", "/etc/passwd", "1"), "model.file"},
		"escaping file":         {model(good, "", "a/../../b", "1"), "model.file"},
		"oversized":             {`{"role":"proxy"` + strings.Repeat(" ", maxRoleFile) + `}`, "bytes, at most"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseMeasured([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want one about %q", err, tc.want)
			}
		})
	}
}

func TestAllFindingsAreReportedAtOnce(t *testing.T) {
	_, err := ParseMeasured([]byte(`{"role":"x","model":{"id":"y","data_blocks":0,"salt":"z","format":"zip"}}`))
	for _, path := range []string{"role:", "model.id:", "model.data_blocks:", "model.salt:", "model.format:"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q is not in %v", path, err)
		}
	}
}

func TestRuntimeHoldsEveryField(t *testing.T) {
	got, err := ParseRuntime([]byte(fullRuntime))
	if err != nil {
		t.Fatal(err)
	}
	want := &Runtime{
		Node: "rack-1.a", LogLevel: "debug",
		Network:   Network{Mode: Static, Address: "10.0.0.5/24", Gateway: "10.0.0.1", DNS: []string{"1.1.1.1", "2606:4700::1111"}},
		NTP:       []string{"time.example.org", "10.0.0.1", "fd00::1"},
		Endpoints: Endpoints{Seal: []string{"seal.example.org:8443"}, Collateral: []string{"[fd00::2]:443"}},
		Engine:    Engine{MaxRequests: 64, GPUPercent: 90, TensorParallel: 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRuntimeDefaults(t *testing.T) {
	got, err := ParseRuntime([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultRuntime(), got); diff != "" {
		t.Error(diff)
	}
	levels := map[string]slog.Level{"": slog.LevelInfo, "debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}
	for name, want := range levels {
		if l := (&Runtime{LogLevel: name}).Level(); l != want {
			t.Errorf("level %q = %s", name, l)
		}
	}
}

func TestRuntimeDocumentsThatAreRefused(t *testing.T) {
	network := func(s string) string { return `{"network":{` + s + `}}` }
	tests := map[string]struct{ in, want string }{
		"measured key":          {`{"role":"worker"}`, `unknown key "role"`},
		"node with escape":      {`{"node":"a\u001b[2J"}`, "node:"},
		"log level":             {`{"log_level":"trace"}`, "log_level:"},
		"mode":                  {network(`"mode":"bridge"`), "network.mode"},
		"static without addr":   {network(`"mode":"static"`), "network.address"},
		"address without len":   {network(`"mode":"static","address":"10.0.0.5"`), "network.address"},
		"multicast address":     {network(`"mode":"static","address":"224.0.0.1/24"`), "network.address"},
		"gateway other family":  {network(`"mode":"static","address":"10.0.0.5/24","gateway":"fd00::1"`), "network.gateway"},
		"gateway no address":    {network(`"mode":"static","address":"10.0.0.5/24","gateway":"router"`), "network.gateway"},
		"address in dhcp":       {network(`"address":"10.0.0.5/24"`), "network.address"},
		"gateway in dhcp":       {network(`"mode":"dhcp","gateway":"10.0.0.1"`), "network.gateway"},
		"resolver name":         {network(`"dns":["dns.example"]`), "network.dns[0]"},
		"resolver with newline": {network(`"dns":["1.1.1.1\nsearch evil"]`), "network.dns[0]"},
		"zoned resolver":        {network(`"dns":["fe80::1%eth0"]`), "network.dns[0]"},
		"too many resolvers":    {network(`"dns":["1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1"]`), "network.dns"},
		"time server":           {`{"ntp":["-x"]}`, "ntp[0]"},
		"endpoint without port": {`{"endpoints":{"seal":["host"]}}`, "endpoints.seal[0]"},
		"port beyond range":     {`{"endpoints":{"seal":["host:65536"]}}`, "endpoints.seal[0]"},
		"port zero":             {`{"endpoints":{"collateral":["host:0"]}}`, "endpoints.collateral[0]"},
		"other engine wish":     {`{"engine":{"args":["-v"]}}`, `unknown key "args"`},
		"negative requests":     {`{"engine":{"max_requests":-1}}`, "engine.max_requests"},
		"more than the memory":  {`{"engine":{"gpu_percent":101}}`, "engine.gpu_percent"},
		"too many GPUs":         {`{"engine":{"tp":65}}`, "engine.tp"},
		"endpoint as URL":       {`{"endpoints":{"collateral":["https://host:1/"]}}`, "endpoints.collateral[0]"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseRuntime([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want one about %q", err, tc.want)
			}
		})
	}
}

func encodeDisk(tb testing.TB, role, runtime string) []byte {
	tb.Helper()
	raw, err := spec.EncodeDisk([]spec.File{{Path: "notes/readme", Data: []byte("x")}, {Path: RoleFile, Data: []byte(role)}}, []byte(runtime))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestReadDisk(t *testing.T) {
	raw := encodeDisk(t, proxyRole, fullRuntime)
	raw = append(raw, bytes.Repeat([]byte{0xaa}, 512)...) // a disk is rounded up; what follows is not read
	doc, err := ReadDisk(bytes.NewReader(raw), uint64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	hash, err := spec.TreeHash(doc.Files)
	if err != nil || hash != doc.SpecHash || len(doc.Files) != 2 {
		t.Errorf("hash %s, want %s, %d files, %v", doc.SpecHash, hash, len(doc.Files), err)
	}
	if doc.Measured.Role != "proxy" || !doc.HasRuntime || doc.Runtime.Node != "rack-1.a" {
		t.Errorf("%+v %+v", doc.Measured, doc.Runtime)
	}
}

func TestADiskWithoutRuntimeGivesTheDefault(t *testing.T) {
	raw := encodeDisk(t, proxyRole, "")
	doc, err := ReadDisk(bytes.NewReader(raw), uint64(len(raw)))
	if err != nil || doc.HasRuntime {
		t.Fatalf("%+v, %v", doc, err)
	}
	if diff := cmp.Diff(DefaultRuntime(), doc.Runtime); diff != "" {
		t.Error(diff)
	}
}

func TestTheRuntimeSectionDoesNotChangeTheSpecHash(t *testing.T) {
	a, b := encodeDisk(t, proxyRole, ""), encodeDisk(t, proxyRole, fullRuntime)
	first, err1 := ReadDisk(bytes.NewReader(a), uint64(len(a)))
	second, err2 := ReadDisk(bytes.NewReader(b), uint64(len(b)))
	if err := errors.Join(err1, err2); err != nil || first.SpecHash != second.SpecHash {
		t.Errorf("%v, %v", first, second)
	}
}

func TestDisksThatAreRefused(t *testing.T) {
	good := encodeDisk(t, proxyRole, fullRuntime)
	flip := func(at int) []byte {
		raw := bytes.Clone(good)
		raw[at] ^= 1
		return raw
	}
	tests := map[string]struct {
		raw  []byte
		want string
	}{
		"empty":               {nil, "ends after 0 of 4096"},
		"magic":               {flip(0), "magic"},
		"reserved byte":       {flip(4000), "unused byte"},
		"spec digest":         {flip(40), "torn or corrupt"},
		"spec byte":           {flip(4096 + 130), "torn or corrupt"},
		"runtime digest":      {flip(85), "torn or corrupt"},
		"cut in the spec":     {good[:4200], "truncated"},
		"cut before runtime":  {good[:8192], "truncated"},
		"no role":             {withoutRole(t), RoleFile},
		"role with a mistake": {encodeDisk(t, `{"role":"x"}`, ""), "role:"},
		"runtime mistake":     {encodeDisk(t, proxyRole, `{"node":1}`), "runtime section"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ReadDisk(bytes.NewReader(tc.raw), uint64(len(tc.raw)))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want one about %q", err, tc.want)
			}
		})
	}
}

func withoutRole(t *testing.T) []byte {
	t.Helper()
	raw, err := spec.EncodeDisk([]spec.File{{Path: "other.json", Data: []byte("{}")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// counting notes every byte range read; a lying disk says more than it has.
type counting struct {
	data  []byte
	reads map[int64]int
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.reads[off]++
	n, err := bytes.NewReader(c.data).ReadAt(p, off)
	return n, err
}

func TestEverySectionIsReadOnce(t *testing.T) {
	c := &counting{data: encodeDisk(t, proxyRole, fullRuntime), reads: map[int64]int{}}
	if _, err := ReadDisk(c, uint64(len(c.data))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int64]int{0: 1, 4096: 1, 8192: 1}, c.reads); diff != "" {
		t.Error(diff)
	}
}

func TestADiskThatLiesAboutItsSizeIsNamed(t *testing.T) {
	raw := encodeDisk(t, proxyRole, fullRuntime)
	if _, err := ReadDisk(bytes.NewReader(raw[:4200]), 1<<30); err == nil || !strings.Contains(err.Error(), "the disk ends") {
		t.Errorf("err = %v", err)
	}
	if _, err := ReadDisk(failing{}, 1<<30); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("err = %v", err)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }

func FuzzParseMeasured(f *testing.F) {
	for _, s := range []string{proxyRole, fullRole, `{}`, `{"role":"worker","model":{"id":"a","format":"tar"}}`, `{"role":"proxy","role":"worker"}`, `[`, `{"model":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMeasured(data)
		if err != nil {
			return
		}
		again, err := strictjson.Canonical(m)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseMeasured(again); err != nil || !cmp.Equal(m, back, cmpopts.EquateEmpty()) {
			t.Errorf("does not survive its own encoding: %v", err)
		}
		if m.Model != nil {
			if _, err := m.Model.RootHash(); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzParseRuntime(f *testing.F) {
	for _, s := range []string{fullRuntime, `{}`, `{"network":{"mode":"none"}}`, `{"network":{"dns":["::"]}}`, `{"ntp":["a"]}`, `{"endpoints":{"seal":["[::1]:1"]}}`, `{"x":`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRuntime(data)
		if err != nil {
			return
		}
		again, err := strictjson.Canonical(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseRuntime(again); err != nil || !cmp.Equal(r, back, cmpopts.EquateEmpty()) {
			t.Errorf("does not survive its own encoding: %v\n%s", err, again)
		}
	})
}

func FuzzReadDisk(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(encodeDisk(f, proxyRole, ""))
	f.Add(encodeDisk(f, fullRole, fullRuntime))
	f.Add(encodeDisk(f, `{}`, `{}`))
	f.Add(bytes.Repeat([]byte{0xff}, 8192))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := ReadDisk(bytes.NewReader(data), uint64(len(data)))
		if err == nil && (doc.Measured == nil || doc.Runtime == nil || doc.SpecHash == spec.Hash{}) {
			t.Errorf("half a document: %+v", doc)
		}
	})
}

// TestModelHash: the network's name of a model is the hash of its identity's text (protocol.md section 15).
func TestModelHash(t *testing.T) {
	m := Model{ID: "Qwen/Qwen3-8B@b968826d9c46dd6066d109eabc6255188de91218:7e9d33bebf5518e0dc666e5a04ffbab247ff5878f91a9a55a6e942fe245a8ee9"}
	if got := fmt.Sprintf("%x", m.Hash()); got != "4e8d0d15a82615d4fa5aff8bb7a114152c7c17a517a809d7a7670c149079d2d3" {
		t.Errorf("hash %s", got)
	}
}
