package router

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/contracts/wire"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

var (
	hashA = strings.Repeat("a1", 32)
	hashB = strings.Repeat("b2", 32)
	// rootX is nobody's.
	rootX = strings.Repeat("0c", 48)
	// intelRoot is the key id of Intel's SGX root CA, attestation.md section 8.1.
	intelRoot = "46e403bd34f05a3f2817ab9badcaacc7ffc98e0f261008cd30dae936cace18d5dcf58eef31463613de1570d516200993"
)

// files is a reader of configuration files held in memory.
func files(content string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if path != "router.json" {
			return nil, fmt.Errorf("open %s: %w", path, os.ErrNotExist)
		}
		return []byte(content), nil
	}
}

// port is what the command line makes without any other flag.
func port(listen uint16, kind Kind, policyName string, to Destination) Port {
	g := defaultGlobals()
	p := g.port(listen, kind)
	p.Policy, p.Destination = policyName, to
	return p
}

// TestArguments: the command lines of production, every flag of the reference, and ours.
func TestArguments(t *testing.T) {
	worker := port(8116, SOCKS5, "tdx", Destination{})
	worker.Serialize = true
	workers, clients := port(11001, Reverse, "tdx", Destination{"localhost", 11101}), port(11002, Reverse, "any", Destination{"localhost", 11102})
	workers.Serialize, clients.Serialize = true, true
	hard := port(8116, SOCKS5, "any", Destination{})
	hard.Difficulty, hard.MaxDifficulty, hard.Reply = 8, 24, Late
	for name, tc := range map[string]struct {
		args string
		want Config
	}{
		"worker machine": {
			"-S 8116@tdx --serialize-info -C /etc/tdx/tdx --image-source=defer",
			Config{CertBase: "/etc/tdx/tdx", ImageSource: policy.Deferred, Ports: []Port{worker}},
		},
		"proxy machine": {
			"-R 11001:localhost:11101@tdx -R 11002:localhost:11102@any --serialize-info -C /etc/tdx/tdx --image-source chain",
			Config{CertBase: "/etc/tdx/tdx", ImageSource: policy.FromChain, Ports: []Port{workers, clients}},
		},
		"key manager with hashes of the newer form": {
			"-R 13001:127.0.0.1:13101@tee:tdx@" + hashA + "," + hashB,
			Config{
				Ports: []Port{port(13001, Reverse, "tee_inline_13001", Destination{"127.0.0.1", 13101})},
				Policies: []PolicySpec{{
					Name: "tee_inline_13001", Type: "tee", Rules: []byte(`{"allowed_image_hashes":["` + hashA + `","` + hashB + `"]}`), Origin: "hashes of port 13001",
				}},
			},
		},
		"client machine without a certificate": {
			"-s -S 8116@tdx --image-source=defer",
			Config{ImageSource: policy.Deferred, Ports: []Port{worker}},
		},
		"everything joined": {
			"-v3 -t2 -d8 -m24 -S8116@any --socks-reply=late",
			Config{Verbosity: 3, Threads: 2, Ports: []Port{hard}},
		},
		"switches joined with a value": {
			"-sS 8116@tdx --image-source=defer",
			Config{ImageSource: policy.Deferred, Ports: []Port{worker}},
		},
		"a policy of one's own": {
			"-P mine:tdx:" + hashA + " -F 9000:10.0.0.1:11001@mine",
			Config{
				Ports:    []Port{port(9000, Forward, "mine", Destination{"10.0.0.1", 11001})},
				Policies: []PolicySpec{{Name: "mine", Type: "tdx", Rules: []byte(`{"allowed_image_hashes":["` + hashA + `"]}`), Origin: "-P mine"}},
			},
		},
		"a policy without hashes": {
			"-P open:any -F 9000:example.org:11001@open",
			Config{
				Ports:    []Port{port(9000, Forward, "open", Destination{"example.org", 11001})},
				Policies: []PolicySpec{{Name: "open", Type: "any", Origin: "-P open"}},
			},
		},
		"IPv6 destinations": {
			"-F 9000:[2001:db8::1]:11001@any -R 9001:[::1]:9002@any",
			Config{Ports: []Port{port(9000, Forward, "any", Destination{"2001:db8::1", 11001}), port(9001, Reverse, "any", Destination{"::1", 9002})}},
		},
		"the old form": {
			"-p 9000:reverse:any:localhost:9001 -p 8116:socks5:any",
			Config{Ports: []Port{port(9000, Reverse, "any", Destination{"localhost", 9001}), port(8116, SOCKS5, "any", Destination{})}},
		},
		"ours": {
			"-S 8116@any --preamble=dec --metrics 127.0.0.1:9100 --collateral /etc/collateral --profile auto --collateral-hash " + intelRoot,
			Config{
				Ports: []Port{port(8116, SOCKS5, "any", Destination{})}, Preamble: wire.Dec2025, Metrics: "127.0.0.1:9100", Profile: Auto,
				Collateral: Collateral{Bundle: "/etc/collateral", Refresh: true},
			},
		},
		"nothing at all": {"", Config{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(strings.Fields(tc.args), nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want.Profile == "" {
				tc.want.Profile = V1
			}
			tc.want.Collateral.Refresh = true
			if diff := cmp.Diff(&tc.want, got, prefixes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestArgumentsRefused: each mistake, and each quirk of the reference that is a mistake here, is named.
func TestArgumentsRefused(t *testing.T) {
	for name, tc := range map[string]struct{ args, want string }{
		"tdx without images":              {"-S 8116@tdx", "--image-source=defer"},
		"tee without images":              {"-R 13001:127.0.0.1:13101@tee", "--image-source=chain"},
		"own tdx policy without images":   {"-P mine:tdx -S 8116@mine", "hashes (@tdx:HASH"},
		"port below the range":            {"-S 1023@any", `port "1023" is not a number in 1024..65535`},
		"port above the range":            {"-S 65536@any", `"65536"`},
		"port with a sign":                {"-S +8116@any", `"+8116"`},
		"port with a zero in front":       {"-S 08116@any", `"08116"`},
		"destination port out of range":   {"-R 11001:localhost:80@any", `port "80"`},
		"no policy":                       {"-S 8116", "names no policy"},
		"unknown policy":                  {"-S 8116@mine", `there is no policy "mine"`},
		"empty policy":                    {"-S 8116@", `there is no policy ""`},
		"SOCKS with a destination":        {"-S 8116:localhost:9000@any", "leads where the program says"},
		"reverse without a destination":   {"-R 11001@any", "leads nowhere"},
		"destination without a port":      {"-R 11001:localhost@any", "HOST:PORT"},
		"IPv6 without brackets":           {"-R 11001:::1:9000@any", "[IPV6]:PORT"},
		"host with a slash":               {"-R 11001:a/b:9000@any", `host "a/b"`},
		"hashes on a policy of one's own": {"-P mine:any -S 8116@mine:" + hashA, "is not built in"},
		"short hash":                      {"-S 8116@tdx:abcd", "allowed_image_hashes"},
		"empty hash":                      {"-S 8116@tdx:", "allowed_image_hashes"},
		"hashes on any":                   {"-S 8116@any:" + hashA, "any"},
		"SEV hash":                        {"-S 8116@tee:sev@" + hashA, "never admitted"},
		"hash of an unknown TEE":          {"-S 8116@tee:sgx@" + hashA, "neither tdx nor sev"},
		"the zero report's hash":          {"-S 8116@tdx:5c55c8f4db4010ba9203d83536d0609856af8c847ac039e37e7dde8fbd574b61", "allowed_image_hashes"},
		"the hash of nothing":             {"-S 8116@tdx:" + strings.Repeat("0", 64), "allowed_image_hashes"},
		"a built-in redefined":            {"-P tdx:any -S 8116@tdx --image-source=defer", "built in and cannot be redefined"},
		"a built-in alias redefined":      {"-P fake_tee:any", "built in and cannot be redefined"},
		"a name twice":                    {"-P mine:any -P mine:tdx:" + hashA, "given twice"},
		"a policy of no type":             {"-P mine", "name:type"},
		"a policy of an unknown type":     {"-P mine:tdy", "tdy"},
		"a policy of an odd name":         {"-P a/b:any", "does not match"},
		"sgx policy":                      {"-P mine:sgx", "sgx"},
		"two listeners on one port":       {"-S 8116@any -F 8116:localhost:9000@any", "is also ports[0]"},
		"difficulty below":                {"-S 8116@any -d -1", "-1 is not in 0..64"},
		"difficulty above":                {"-S 8116@any -d 65", "65 is not in 0..64"},
		"greatest difficulty above":       {"-S 8116@any -m65", "max_pow_difficulty"},
		"difficulty without a number":     {"-S 8116@any -dx", "invalid value"},
		"legacy of unknown type":          {"-p 9000:udp:any", `"udp" is none of socks5, forward, reverse`},
		"legacy too short":                {"-p 9000:socks5", "port:type:policy"},
		"legacy reverse to nowhere":       {"-p 9000:reverse:any", "destination_host"},
		"root of the wrong size":          {"--collateral-hash abcd", "96 hex digits"},
		"a root other than Intel's":       {"--collateral-hash " + intelRoot + "," + rootX, "is not Intel's"},
		"unknown preamble":                {"--preamble=mar", "none of apr, dec"},
		"unknown image source":            {"--image-source=all", "all"},
		"unknown reply":                   {"-S 8116@any --socks-reply=never", "none of early, late"},
		"unknown profile":                 {"--profile=v3", "none of v1, v2, auto"},
		"metrics without an address":      {"--metrics :9100", "127.0.0.1:9000"},
		"unknown flag":                    {"-x 1", "-x"},
		"unknown long flag":               {"--policies 1", "policies"},
		"positional argument":             {"-s 8116@any", "belongs to no flag"},
		"after the separator":             {"-- x", "belongs to no flag"},
		"value missing":                   {"-S", "needs an argument"},
		"negative threads":                {"-t -1", "threads: -1"},
		"file missing":                    {"-c other.json", "other.json"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(strings.Fields(tc.args), files("{}"))
			if got != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// TestSpecialArguments: -g and -h are not configurations.
func TestSpecialArguments(t *testing.T) {
	if _, err := Parse([]string{"-g"}, nil); !errors.Is(err, ErrExample) {
		t.Errorf("-g gave %v", err)
	}
	for _, h := range []string{"-h", "--help"} {
		if _, err := Parse([]string{h}, nil); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s gave %v", h, err)
		}
	}
	var text strings.Builder
	Usage(&text)
	for _, f := range []string{"-S", "-F", "-R", "-P", "-serialize-info", "-image-source", "-preamble", "-metrics", "-profile", "-socks-reply", "-fresh"} {
		if !strings.Contains(text.String(), f+" ") && !strings.Contains(text.String(), f+"\n") && !strings.Contains(text.String(), f+"\t") {
			t.Errorf("usage does not tell of %s", f)
		}
	}
}

// TestExample: what -g prints is accepted by -c.
func TestExample(t *testing.T) {
	c, err := Parse([]string{"-c", "router.json"}, files(Example))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Ports) != 3 || len(c.Policies) != 1 || c.Collateral.PCCSURL == "" {
		t.Errorf("the example shows too little: %+v", c)
	}
}

// TestFile: the file's values, and which side wins where the command line says the same thing.
func TestFile(t *testing.T) {
	const file = `{
	"cert_base_name": "/etc/tdx/tdx", "threads": 4,
	"policies": [{"name": "workers", "type": "tdx", "description": "ours", "tdx_config": {"allowed_image_hashes": "` + "HASH" + `"}}],
	"ports": [
		{"port": 11001, "type": "reverse", "policy_name": "workers", "destination_host": "localhost", "destination_port": 11101,
		 "serialize_info": false, "pow_difficulty": 4, "limits": {"pending": 7, "handshake": "3s", "exempt": ["10.0.0.0/8"]}},
		{"port": 8116, "type": "socks5", "policy_name": "any", "allow_policy_from_username": true, "max_pow_difficulty": 9, "socks_reply": "late"}
	],
	"limits": {"pending": 9, "socks": "4s"},
	"collateral": {"pccs_url": "http://10.0.2.2:8081", "store_dir": "/var/lib/collateral", "refresh": false}
}`
	got, err := Parse([]string{"-c", "router.json", "-s", "-d", "12", "-m", "13"}, files(strings.ReplaceAll(file, "HASH", hashA)))
	if err != nil {
		t.Fatal(err)
	}
	reverse := port(11001, Reverse, "workers", Destination{"localhost", 11101})
	reverse.Difficulty, reverse.MaxDifficulty = 4, 13
	reverse.Limits.Pending, reverse.Limits.Handshake, reverse.Limits.SOCKS = 7, 3*time.Second, 4*time.Second
	reverse.Limits.Exempt = mustPrefixes("10.0.0.0/8")
	socks := port(8116, SOCKS5, "any", Destination{})
	socks.Serialize, socks.PolicyFromUser, socks.Difficulty, socks.MaxDifficulty, socks.Reply = true, true, 12, 9, Late
	socks.Limits.Pending, socks.Limits.SOCKS = 9, 4*time.Second
	want := &Config{
		CertBase: "/etc/tdx/tdx", Threads: 4, Profile: V1, Ports: []Port{reverse, socks},
		Policies: []PolicySpec{{
			Name: "workers", Type: "tdx", Description: "ours", Rules: []byte(`{"allowed_image_hashes": "` + hashA + `"}`), Origin: "policies[0] of the file",
		}},
		Collateral: Collateral{PCCSURL: "http://10.0.2.2:8081", StoreDir: "/var/lib/collateral"},
		Limits:     Limits{Pending: 9, SOCKS: 4 * time.Second},
	}
	if diff := cmp.Diff(want, got, prefixes); diff != "" {
		t.Error(diff)
	}
	got, err = Parse([]string{"-c", "router.json", "-C", "/tmp/other", "-t1", "-S", "9000@workers", "-P", "more:any", "--collateral", "/offline"},
		files(strings.ReplaceAll(file, "HASH", hashA)))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Ports) != 1 || got.Ports[0].Listen != 9000 || got.Ports[0].Limits.Pending != 9 {
		t.Errorf("ports of the command line do not replace the file's: %+v", got.Ports)
	}
	if len(got.Policies) != 2 || got.CertBase != "/tmp/other" || got.Threads != 1 || got.Collateral.Bundle != "/offline" {
		t.Errorf("the command line was not joined: %+v", got)
	}
}

// TestPortsListenWhereTheyAreTold: reverse ports are for other machines unless a host narrows them, the others never are.
func TestPortsListenWhereTheyAreTold(t *testing.T) {
	for name, tc := range map[string]struct {
		port Port
		want string
	}{
		"socks5":             {Port{Kind: SOCKS5}, "127.0.0.1"},
		"reverse":            {Port{Kind: Reverse}, "everywhere"},
		"reverse on one":     {Port{Kind: Reverse, Host: "127.0.0.2"}, "127.0.0.2"},
		"reverse on IPv6's":  {Port{Kind: Reverse, Host: "::1"}, "::1"},
		"forward, with host": {Port{Kind: Forward, Host: "127.0.0.2"}, "127.0.0.1"}, // refused by Validate, and not followed either
	} {
		t.Run(name, func(t *testing.T) {
			l, err := listen(t.Context(), tc.port)
			if err != nil && strings.Contains(tc.want, ":") {
				t.Skipf("no IPv6 here: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			got := addressOf(l.Addr()).Addr()
			if tc.want == "everywhere" && got.IsUnspecified() {
				return
			}
			if got.String() != tc.want {
				t.Errorf("listens on %s, want %s", got, tc.want)
			}
		})
	}
}

// TestFileRefused: what the reference skips or overrides in silence is an error that names the place.
func TestFileRefused(t *testing.T) {
	one := func(s string) string {
		return `{"ports": [{"port": 11001, "type": "reverse", "policy_name": "any", "destination_host": "localhost", "destination_port": 11101` + s + `}]}`
	}
	own := func(s string) string {
		return `{"policies": [` + s + `], "ports": [{"port": 8116, "type": "socks5", "policy_name": "mine"}]}`
	}
	for name, tc := range map[string]struct{ file, want string }{
		"unknown key":                {`{"port": []}`, `unknown key "port"`},
		"unknown key of a port":      {one(`, "hots": 1`), `unknown key "hots"`},
		"key of another case":        {one(`, "Serialize_info": true`), `unknown key "Serialize_info"`},
		"duplicate key":              {one(`, "port": 11002`), `duplicate key "port"`},
		"text for a number":          {one(`, "pow_difficulty": "4"`), "pow_difficulty"},
		"number for a duration":      {one(`, "limits": {"handshake": 3}`), `not a string like "10s"`},
		"odd duration":               {one(`, "limits": {"handshake": "3"}`), `"3" is not like "10s"`},
		"no duration":                {one(`, "limits": {"handshake": "0s"}`), "not above zero"},
		"duration beyond sense":      {one(`, "limits": {"handshake": "24h"}`), "limits.handshake: 24h0m0s is not in"},
		"limits without ports":       {`{"limits": {"dial": "11m"}}`, "limits.dial: 11m0s is not in"},
		"negative count":             {one(`, "limits": {"pending": -1}`), "limits.pending: -1"},
		"odd network":                {one(`, "limits": {"exempt": ["10.0.0.0/99"]}`), "10.0.0.0/99"},
		"two documents":              {`{} {}`, "after the document"},
		"null rules":                 {own(`{"name": "mine", "type": "tdx", "tdx_config": null}`), "null"},
		"rules of the wrong kind":    {own(`{"name": "mine", "type": "tdx", "tdx_config": []}`), "tdx_config"},
		"type within the rules":      {own(`{"name": "mine", "type": "tdx", "tdx_config": {"type": "any"}}`), "type belongs to the policy"},
		"typing error in a rule":     {own(`{"name": "mine", "type": "tdx", "tdx_config": {"allowed_image_hashs": []}}`), "allowed_image_hashs"},
		"number in the allow-list":   {own(`{"name": "mine", "type": "tdx", "tdx_config": {"allowed_image_hashes": [1]}}`), "allowed_image_hashes"},
		"duplicate rule":             {own(`{"name": "mine", "type": "tdx", "tdx_config": {"image_source": "defer", "image_source": "chain"}}`), "duplicate key"},
		"no images":                  {own(`{"name": "mine", "type": "tdx", "tdx_config": {}}`), "lists no image"},
		"policy without a name":      {own(`{"type": "any"}`), "policies[0].name: missing"},
		"policy without a type":      {own(`{"name": "mine"}`), "policies[0].type: missing"},
		"policy twice":               {own(`{"name": "mine", "type": "any"}, {"name": "mine", "type": "any"}`), "given twice"},
		"built-in redefined":         {own(`{"name": "mine", "type": "any"}, {"name": "any", "type": "tdx"}`), "cannot be redefined"},
		"port without a policy":      {`{"ports": [{"port": 8116, "type": "socks5"}]}`, "ports[0].policy_name: missing"},
		"port zero":                  {`{"ports": [{"type": "socks5", "policy_name": "any"}]}`, "ports[0].port: 0"},
		"port beyond":                {`{"ports": [{"port": 65536, "type": "socks5", "policy_name": "any"}]}`, "port"},
		"socks5 with a destination":  {`{"ports": [{"port": 8116, "type": "socks5", "policy_name": "any", "destination_port": 9000}]}`, "the program says"},
		"users of a reverse port":    {one(`, "allow_policy_from_username": true`), "only a socks5 port has users"},
		"host that is a name":        {one(`, "host": "localhost"`), `"localhost" is no IP address`},
		"host of a local port":       {`{"ports": [{"port": 8116, "type": "socks5", "policy_name": "any", "host": "127.0.0.2"}]}`, "only a reverse port"},
		"unknown reply":              {one(`, "socks_reply": "soon"`), `"soon" is none of early, late`},
		"difficulty beyond":          {one(`, "pow_difficulty": 65`), "pow_difficulty: 65"},
		"nothing":                    {``, "router.json"},
		"all problems at once, here": {`{"threads": 9999, "ports": [{"port": 1, "type": "x", "policy_name": "y"}]}`, "threads: 9999"},
		"all problems at once, and":  {`{"threads": 9999, "ports": [{"port": 1, "type": "x", "policy_name": "y"}]}`, "ports[0].port: 1"},
		"all problems at once, then": {`{"threads": 9999, "ports": [{"port": 1, "type": "x", "policy_name": "y"}]}`, `no policy "y"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]string{"-c", "router.json"}, files(tc.file))
			if got != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// TestImageSources: who decides about images follows from what is written, the narrower first.
func TestImageSources(t *testing.T) {
	for name, tc := range map[string]struct {
		args   string
		policy string
		want   policy.ImageSource
		images int
	}{
		"flag reaches the built-in":          {"-S 8116@tdx --image-source=defer", "tdx", policy.Deferred, 0},
		"and its alias":                      {"-S 8116@tee --image-source=chain", "tee", policy.FromChain, 0},
		"and a policy without images":        {"-S 8116@mine -P mine:tdx --image-source=chain", "mine", policy.FromChain, 0},
		"hashes are a list":                  {"-S 8116@tdx:" + hashA + " --image-source=defer", "tdx_inline_8116", policy.FromList, 1},
		"an empty list, written":             {"-S 8116@tdx --image-source=list", "tdx", policy.FromList, 0},
		"a built-in that nobody uses":        {"-S 8116@any", "tdx", policy.FromList, 0},
		"a policy of one's own, not in use":  {"-S 8116@any -P mine:tdx", "mine", policy.FromList, 0},
		"inline hashes leave the rest alone": {"-S 8116@tdx:" + hashA, "tdx", policy.FromList, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse(strings.Fields(tc.args), nil)
			if err != nil {
				t.Fatal(err)
			}
			all, err := c.policies()
			if err != nil {
				t.Fatal(err)
			}
			r := all[tc.policy].Rules()
			if r.ImageSource != tc.want || len(r.AllowedImages) != tc.images {
				t.Errorf("source %s with %d images, want %s with %d", r.ImageSource, len(r.AllowedImages), tc.want, tc.images)
			}
		})
	}
}

// TestSimulated: what anybody can make is admitted by a local network's router only, and only its file can make one.
func TestSimulated(t *testing.T) {
	w := newWorld(t)
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.platform.RootCertificate().Raw})
	text, err := json.Marshal(string(root))
	if err != nil {
		t.Fatal(err)
	}
	sim := `"policies": [{"name": "sim", "type": "tdx", "tdx_config": {"image_source": "defer", "allow_simulated": true, "allowed_collateral_root_hashes": ["` + w.root + `"]}}]`
	device := func(d, root string) string { return `"simulated": {"device": "` + d + `", "root": ` + root + `}` }
	for name, tc := range map[string]struct{ args, file, want string }{
		"local":                            {"-S 8116@sim", `{"network": "local", ` + sim + `, ` + device("unix:/run/simtd", string(text)) + `}`, ""},
		"local, fake":                      {"-S 8116@fake_tee", `{"network": "local"}`, ""},
		"public, simulated policy":         {"-S 8116@any", `{` + sim + `}`, "allow_simulated"},
		"public, fake":                     {"-S 8116@fake_tdx", `{}`, "fake_tdx"},
		"public, fake by another name":     {"-P mine:fake_tee -S 8116@mine", `{}`, "fake_tdx"},
		"public, fake not in use":          {"-P mine:fake_tee -S 8116@any", `{}`, "fake_tdx"},
		"public, root given":               {"-S 8116@any", `{` + device("", string(text)) + `}`, `"network": "local"`},
		"another network":                  {"-S 8116@any", `{"network": "test"}`, `network: "test"`},
		"root cut":                         {"-S 8116@any", `{"network": "local", ` + device("", string(text[:len(text)/2])+`"`) + `}`, "simulated.root"},
		"two roots":                        {"-S 8116@any", `{"network": "local", ` + device("", string(text[:len(text)-1])+string(text[1:])) + `}`, "simulated.root"},
		"local, claims":                    {"-S 8116@sim", `{"network": "local", "claims": {"role": "proxy", "network_id": -217}, ` + sim + `, ` + device("unix:/run/simtd", string(text)) + `}`, ""},
		"public, claims":                   {"-S 8116@any", `{"claims": {"role": "proxy", "network_id": -239}}`, "claims: only a local"},
		"local claims of the main network": {"-S 8116@any", `{"network": "local", "claims": {"role": "proxy", "network_id": -239}}`, "public network is not local"},
		"claims of nobody":                 {"-S 8116@any", `{"network": "local", "claims": {"role": "miner", "network_id": 1}}`, "miner"},
		"a root":                           {"-S 8116@sim", `{` + sectionOf("localnet") + `, "network": "local", ` + sim + `, ` + device("unix:/run/simtd", string(text)) + `}`, ""},
		"a root without lists":             {"-S 8116@any", `{"root": {"address": "` + someRoot + `", "network": "testnet", "config": "c"}}`, "root_lists"},
		"a root that is none":              {"-S 8116@any", `{"root": {"address": "x"}}`, "root.address"},
		"a root of null":                   {"-S 8116@any", `{"root": null, "root_lists": ["proxy"]}`, "reading root section"},
		"models as images":                 {"-S 8116@any", `{"root_lists": ["model"]}`, "model hashes are no images"},
		"a list that is none":              {"-S 8116@any", `{"root_lists": ["proxies"]}`, "root_lists[0]"},
		"a public root in a local network": {"-S 8116@any", `{` + sectionOf("testnet") + `, "network": "local"}`, "root.network"},
		"odd device":                       {"-S 8116@any", `{"network": "local", ` + device("ftp:x", string(text)) + `}`, "simulated.device"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse(append([]string{"-c", "router.json"}, strings.Fields(tc.args)...), files(tc.file))
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("error %v, want one with %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			deps := Deps{Now: time.Now, Credentials: w.identity(t, nil), Judge: w.judge}
			if _, err := New(c, deps); err == nil || !strings.Contains(err.Error(), "local network's") {
				t.Errorf("a process that allows no local network made it: %v", err)
			}
			deps.AllowLocal = true
			if _, err := New(c, deps); err != nil {
				t.Error(err)
			}
		})
	}
	c, err := Parse([]string{"-S", "8116@any"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := c.policies()
	if err != nil || all["fake_tdx"] != nil || all["tdx"] == nil {
		t.Errorf("a user name can choose fake evidence in a public network: %v", err)
	}
}

// someRoot is a contract's address (contracts.md section 1.2).
const someRoot = "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k"

func sectionOf(network string) string {
	return `"root_lists": ["proxy", "worker"], "root": {"address": "` + someRoot + `", "network": "` + network + `", "config": "ton.json"}`
}

// TestPoliciesOfTheChainNeedOne: without a list to look into, the router does not start; with another root it is not
// reloaded.
func TestPoliciesOfTheChainNeedOne(t *testing.T) {
	w := newWorld(t)
	parse := func(file string) *Config {
		t.Helper()
		c, err := Parse([]string{"-c", "router.json", "-S", "8116@tdx", "--image-source=chain"}, files(file))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	followed := parse(`{` + sectionOf("testnet") + `}`)
	if followed.Root == nil || len(followed.RootLists) != 2 {
		t.Fatalf("%+v", followed)
	}
	deps := Deps{Now: time.Now, Credentials: w.identity(t, nil), Judge: w.judge}
	if _, err := New(followed, deps); err == nil || !strings.Contains(err.Error(), "section root") {
		t.Errorf("without a list: %v", err)
	}
	deps.Images = noImages{}
	r, err := New(followed, deps)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(parse(`{` + sectionOf("testnet") + `}`)); err != nil {
		t.Errorf("the same root: %v", err)
	}
	for name, file := range map[string]string{"no root": `{}`, "another network": `{` + sectionOf("mainnet") + `}`} {
		if err := r.Reload(parse(file)); err == nil || !strings.Contains(err.Error(), "root") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type noImages struct{}

func (noImages) Allowed() ([]tdx.Hash, time.Time, error) { return nil, time.Time{}, nil }

// FuzzFile: a configuration that is accepted validates, has a policy for each port, and every limit set.
func FuzzFile(f *testing.F) {
	f.Add([]byte(Example))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"ports":[{"port":8116,"type":"socks5","policy_name":"any","limits":{"exempt":["::/0"]}}]}`))
	f.Add([]byte(`{"policies":[{"name":"a","type":"tdx","tdx_config":{"allowed_image_hashes":"` + strings.Repeat("ab", 32) + `"}}],"ports":[{"port":8116,"type":"socks5","policy_name":"a"}]}`))
	f.Add([]byte(`{"network":"local","policies":[{"name":"a","type":"fake_tdx"}]}`))
	f.Add([]byte(`{"policies":[{"name":"a","type":"any","tdx_config":{"type":"any"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse([]string{"-c", "router.json"}, files(string(data)))
		if err != nil {
			return
		}
		accepted(t, c)
	})
}

// FuzzArguments: the same for command lines.
func FuzzArguments(f *testing.F) {
	for _, s := range []string{
		"-S 8116@tdx --serialize-info -C /etc/tdx/tdx --image-source=defer", "-R 11001:localhost:11101@any -R 11002:[::1]:11102@any",
		"-P mine:tdx:" + hashA + " -F9000:10.0.0.1:11001@mine", "-sgh", "-p 9000:reverse:any:localhost:9001", "-S8116@tee:tdx@" + hashB, "-- -s",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := Parse(strings.Fields(line), files("{}"))
		if err != nil {
			return
		}
		accepted(t, c)
	})
}

func accepted(t *testing.T, c *Config) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatalf("accepted and invalid: %v", err)
	}
	all, err := c.policies()
	if err != nil {
		t.Fatalf("accepted without its policies: %v", err)
	}
	for _, p := range c.Ports {
		switch got := all[p.Policy]; {
		case got == nil:
			t.Fatalf("port %d names %q, which is no policy", p.Listen, p.Policy)
		case got.Type() == policy.TDX && got.ImageSource() == policy.FromList && c.ImageSource == "" &&
			len(got.Rules().AllowedImages)+len(got.Rules().AllowedMRTD)+len(got.Rules().AllowedRTMR) == 0:
			if !strings.Contains(fmt.Sprint(c.Policies), "image_source") {
				t.Fatalf("port %d admits nobody, and nobody chose that", p.Listen)
			}
		}
		for name, d := range p.Limits.durations() {
			if *d <= 0 {
				t.Fatalf("port %d has no deadline %s", p.Listen, name)
			}
		}
		for name, n := range p.Limits.counts() {
			if *n <= 0 {
				t.Fatalf("port %d has no limit %s", p.Listen, name)
			}
		}
	}
}
