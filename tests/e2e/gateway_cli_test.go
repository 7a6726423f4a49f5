package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cocoon/tests/inputs"
	"cocoon/tests/logbook"
)

// payer is the wallet of the command line's gateway.
const payer = "0:0903030303030303030303030303030303030303030303030303030303030303"

// operator runs the host's program against a local network.
type operator struct {
	*chained
	program, dir string
	// trust are the flags that say what simulated machines are worth, network those that name the chain.
	trust, network []string
}

func newOperator(c *chained) *operator {
	c.t.Helper()
	o := &operator{chained: c, dir: c.t.TempDir()}
	o.program = filepath.Join(o.dir, "cocoon")
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.program, "cocoon/cmd/cocoon").CombinedOutput(); err != nil {
		c.t.Fatalf("building the host's program: %v\n%s", err, out)
	}
	root := o.file("root.pem", []byte(o.simulation().Simulated.Root))
	o.trust = []string{"--trust-root", root, "--pccs", o.simulation().Collateral.URL, "--no-intel", "--store", filepath.Join(o.dir, "collateral")}
	o.network = []string{
		"--global-config", c.about.Chain.GlobalConfig, "--network", "localnet", "--root-contract", c.about.Chain.Root, "--state-dir", filepath.Join(o.dir, "chain"),
	}
	return o
}

// simulated is what a role's router file says of the network's machines.
type simulated struct {
	Simulated struct {
		Root string `json:"root"`
	} `json:"simulated"`
	Collateral struct {
		URL string `json:"pccs_url"`
	} `json:"collateral"`
}

func (o *operator) simulation() (s simulated) {
	o.t.Helper()
	found, err := filepath.Glob(filepath.Join(o.about.Dir, "proxy*router*.json"))
	check(o.t, err)
	if len(found) == 0 {
		o.t.Fatalf("no router's file in %s", o.about.Dir)
	}
	raw, err := os.ReadFile(found[0])
	check(o.t, err)
	check(o.t, json.Unmarshal(raw, &s))
	return s
}

// file writes a file of the operator's.
func (o *operator) file(name string, data []byte) string {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	check(o.t, os.WriteFile(path, data, 0o600))
	return path
}

func (o *operator) command(args ...string) *exec.Cmd {
	cmd := exec.Command(o.program, args...)
	cmd.Env = []string{"HOME=" + o.dir, "PATH=/usr/bin:/bin"}
	return cmd
}

// run runs a command and returns its exit code and its document.
func (o *operator) run(args ...string) (code int, doc map[string]any, text string) {
	o.t.Helper()
	cmd := o.command(append(args, "-o", "json", "-q")...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		o.t.Fatal(err)
	}
	_ = json.Unmarshal(out.Bytes(), &doc) // a usage error has no document
	return cmd.ProcessState.ExitCode(), doc, out.String() + problems.String()
}

// serve starts a gateway and returns an app that uses it.
func (o *operator) serve(args ...string) *caller {
	o.t.Helper()
	all := append([]string{
		"gateway", "run", "--listen", "127.0.0.1:0", "--test-network", "--wallet", payer, "--receipts", filepath.Join(o.t.TempDir(), "receipts"), "-o", "json",
	}, args...)
	cmd := o.command(append(all, o.trust...)...)
	log := new(logbook.Book)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	check(o.t, err)
	check(o.t, cmd.Start())
	stop := sync.OnceFunc(func() {
		check(o.t, cmd.Process.Signal(syscall.SIGTERM))
		_, _ = cmd.Process.Wait() // its code is that of an interrupt
	})
	o.t.Cleanup(stop)
	var said struct {
		URL string `json:"url"`
	}
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&said); err != nil {
		o.t.Fatalf("%v\n%s", err, log)
	}
	app := &caller{t: o.t, url: said.URL, log: log, client: &http.Client{Transport: &http.Transport{}}}
	o.t.Cleanup(app.client.CloseIdleConnections)
	app.until("the gateway has a model to offer", func() bool {
		return strings.Contains(app.do(http.MethodGet, "/v1/models", "").body, o.about.Model)
	})
	return app
}

// router starts an external router of the reference layout: a SOCKS5 port that writes preambles. It returns its address.
func (o *operator) router() string {
	o.t.Helper()
	l, err := new(net.ListenConfig).Listen(o.t.Context(), "tcp", "127.0.0.1:0")
	check(o.t, err)
	address := l.Addr().String()
	_, port, err := net.SplitHostPort(address)
	check(o.t, err)
	check(o.t, l.Close())
	root, err := json.Marshal(o.simulation().Simulated.Root)
	check(o.t, err)
	file := o.file("router.json", fmt.Appendf(nil, `{"network":"local","simulated":{"root":%s},"collateral":{"pccs_url":%q},
		"policies":[{"name":"proxies","type":"tdx","tdx_config":{"allow_simulated":true,"allowed_collateral_root_hashes":[%q],"image_source":"defer"}}],
		"ports":[{"port":%s,"type":"socks5","policy_name":"proxies","serialize_info":true}]}`, root, o.simulation().Collateral.URL, o.about.RootID, port))
	cmd := exec.Command(guest(o.t), "router", "-c", file)
	log := new(logbook.Book)
	cmd.Stdout, cmd.Stderr = log, log
	check(o.t, cmd.Start())
	o.t.Cleanup(func() {
		check(o.t, cmd.Process.Signal(syscall.SIGTERM))
		_, _ = cmd.Process.Wait() // its code is that of an interrupt
	})
	o.app.until("the router listens", func() bool {
		c, err := new(net.Dialer).DialContext(o.t.Context(), "tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return address
}

// TestTheGatewayOfTheCommandLine: in its three forms, with the router in its process, behind an external one, and in a local
// network that a root contract rules, it finds its proxies, judges them, and serves; a receipt that it got is verified
// offline and against the root contract, and what was changed about it is found.
func TestTheGatewayOfTheCommandLine(t *testing.T) {
	if !inputs.Wants("chain") {
		t.Skip("builds and runs the host's program with a chain: set COCOON_TEST=chain")
	}
	o := newOperator(newChained(t))
	code, doc, text := o.run(append(append([]string{"gateway", "check", "--test-network", "--wallet", payer}, o.network...), o.trust...)...)
	root, _ := doc["root"].(map[string]any)
	if code != 0 || doc["ready"] != true || doc["form"] != "router in process, simulated platforms (local network)" || root["light"] != "green" || root["registered_proxies"] != 2.0 {
		t.Fatalf("exit code %d: %s", code, text)
	}

	app := o.serve(o.network...)
	request := `{"model":"` + o.about.Model + `","messages":[{"role":"user","content":"Hello"}],"max_tokens":3}`
	whole := app.do(http.MethodPost, chatPath, request)
	if whole.status != http.StatusOK {
		t.Fatalf("status %d, %s", whole.status, whole.body)
	}
	app.receipt(whole.header)
	if r := app.do(http.MethodGet, "/readyz", ""); r.status != http.StatusOK || !strings.Contains(r.body, `"light":"green"`) {
		t.Errorf("/readyz: %d %s", r.status, r.body)
	}
	o.verify(app, whole, request)

	// Versions are agreed with every proxy: below ours there are no receipts, and streams are made from whole answers.
	for _, version := range []string{"1", "2", "3", "4"} {
		old := o.serve(append([]string{"--max-protocol", version}, o.network...)...)
		r := old.do(http.MethodPost, chatPath, strings.TrimSuffix(request, "}")+`,"stream":true}`)
		if r.status != http.StatusOK || r.header.Get("X-Cocoon-Stream") != "emulated" || r.header.Get("X-Receipt-Id") != "" || !strings.HasSuffix(r.body, "data: [DONE]\n\n") {
			t.Errorf("version %s: %d %v %s", version, r.status, r.header, r.body)
		}
	}

	address := o.router()
	code, doc, text = o.run(append(append([]string{"gateway", "check", "--test-network", "--wallet", payer, "--router", address}, o.network...), o.trust...)...)
	if code != 0 || doc["ready"] != true || doc["form"] != "external router at "+address || !strings.Contains(text, o.about.ProxyImage) {
		t.Fatalf("behind a router: exit code %d: %s", code, text)
	}
	routed := o.serve("--router", address, "--proxy", o.about.Proxy, "--image", o.about.ProxyImage, "--price-per-token", "20", "--multipliers", localMultipliers)
	r := routed.do(http.MethodPost, chatPath, request)
	if r.status != http.StatusOK {
		t.Fatalf("behind a router: %d %s", r.status, r.body)
	}
	routed.receipt(r.header)
	code, _, text = o.run(append([]string{
		"gateway", "check", "--test-network", "--wallet", payer, "--router", address, "--proxy", o.about.Proxy, "--image", o.about.WorkerImage, "--wait", "5s",
	}, o.trust...)...)
	if code != 3 || !strings.Contains(text, `"refused"`) || !strings.Contains(text, "not among the 1") {
		t.Errorf("behind a router, another image: exit code %d: %s", code, text)
	}
}

// localMultipliers are those of a local network's root contract.
const localMultipliers = "10000,1000,10000,10000"

// verify saves a receipt with its evidence and has the command judge it.
func (o *operator) verify(app *caller, whole reply, request string) {
	o.t.Helper()
	id := whole.header.Get("X-Receipt-Id")
	paper := app.do(http.MethodGet, "/v1/aci/receipts/"+id, "")
	var claims struct {
		Events []struct {
			Session string `json:"session_id"`
			Proxy   string `json:"proxy_sc"`
			Client  string `json:"client_sc"`
		} `json:"event_log"`
	}
	check(o.t, json.Unmarshal([]byte(paper.body), &claims))
	session, proxy, client := "", "", ""
	for _, e := range claims.Events {
		session, proxy, client = session+e.Session, proxy+e.Proxy, client+e.Client
	}
	// Each proxy has a keyset of its own: the report is asked of the one that served.
	report := app.do(http.MethodGet, "/v1/aci/attestation?proxy="+proxy, "")
	evidence := app.do(http.MethodGet, "/v1/aci/sessions/"+session, "")
	if paper.status != 200 || report.status != 200 || evidence.status != 200 {
		o.t.Fatalf("receipt %d, report %d %s, session %d", paper.status, report.status, report.body, evidence.status)
	}
	verify := func(response string, more ...string) (int, map[string]any, string) {
		args := []string{
			"receipt", "verify", o.file("receipt.json", []byte(paper.body)), "--attestation", o.file("report.json", []byte(report.body)),
			"--session", o.file("session.json", []byte(evidence.body)), "--request", o.file("request.json", []byte(request)),
			"--response", o.file("answer.json", []byte(response)), "--client-contract", client, "--proxy-contract", proxy,
		}
		return o.run(append(args, more...)...)
	}
	online := append([]string{}, o.trust...)
	offline := []string{o.trust[0], o.trust[1], "--no-intel", "--store", o.trust[len(o.trust)-1]}
	fixed := []string{"--image", o.about.ProxyImage, "--price-per-token", "20", "--multipliers", localMultipliers}
	for name, tc := range map[string]struct {
		response string
		flags    [][]string
		class    string
	}{
		"against the root contract": {whole.body, [][]string{online, o.network}, "ok"},
		"offline":                   {whole.body, [][]string{offline, fixed}, "ok"},
		"another price":             {whole.body, [][]string{offline, {"--image", o.about.ProxyImage, "--price-per-token", "21", "--multipliers", localMultipliers}}, "price_mismatch"},
		"other multipliers":         {whole.body, [][]string{offline, {"--image", o.about.ProxyImage, "--price-per-token", "20"}}, "price_mismatch"},
		"another image":             {whole.body, [][]string{offline, {"--image", o.about.WorkerImage, "--price-per-token", "20"}}, "keyset_mismatch"},
		"another answer":            {whole.body + " ", [][]string{offline, fixed}, "response_hash_mismatch"},
	} {
		var flags []string
		for _, f := range tc.flags {
			flags = append(flags, f...)
		}
		code, doc, text := verify(tc.response, flags...)
		if doc["class"] != tc.class || (code == 0) != (tc.class == "ok") || tc.class != "ok" && code != 3 {
			o.t.Errorf("%s: exit code %d, %s", name, code, text)
		}
	}
}
