package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/pricing"
	"cocoon/contracts/registry"
	"cocoon/host/gateway"
)

// gatewayFlags are the flags of the verbs.
type gatewayFlags struct {
	trust                    peerFlags
	chain                    networkFlags
	config                   string
	proxies, contracts       []string
	discover                 bool
	workers                  string
	router, routerPolicy     string
	protocol                 int32
	wallet, secret           string
	admin, token             string
	listen, keys, dir, mode  string
	scores, budgets          string
	maxBody                  uint64
	origins                  []string
	price                    uint64
	multipliers              string
	test, unverified, strict bool
}

// add declares what both verbs take.
func (g *gatewayFlags) add(f *pflag.FlagSet) {
	f.StringVar(&g.config, "config", "", "file (JSON) of these flags, with _ for -; flags win")
	f.StringSliceVar(&g.proxies, "proxy", nil, "proxy to use, HOST:PORT; may be repeated")
	f.BoolVar(&g.discover, "discover", true, "use proxies of the root contract, too")
	f.StringSliceVar(&g.contracts, "proxy-contract", nil, "contract of a proxy that may be paid (default: any)")
	f.StringVar(&g.wallet, "wallet", "", "address of the wallet contract that pays")
	f.StringVar(&g.secret, "secret-file", "", "file with the secret of the payment channels")
	f.StringVar(&g.router, "router", "", "external router: its SOCKS5 port (default: none)")
	f.StringVar(&g.routerPolicy, "router-policy", "", "policy of that router to ask for")
	f.Int32Var(&g.protocol, "max-protocol", 0, "newest protocol version to offer (default: all)")
	f.BoolVar(&g.test, "test-network", false, "the network is a test network")
	f.BoolVar(&g.unverified, "allow-unverified-proxies", false, "send prompts to proxies that are not verified; for tests only")
	f.StringVar(&g.trust.policy, "policy", "", "policy (JSON) that proxies must meet")
	f.StringSliceVar(&g.trust.images, "image", nil, "image of proxies to accept (default: the root contract's)")
	f.StringVar(&g.workers, "worker-policy", "", "policy (JSON) that workers of receipts must meet")
	g.chain.addRoot(f)
	g.trust.sources.add(f, "collateral")
}

// addRun declares what serving takes.
func (g *gatewayFlags) addRun(f *pflag.FlagSet) {
	f.StringVar(&g.listen, "listen", defaultGateway, "where to answer; port 0 is a free one")
	f.StringVar(&g.keys, "keys", "", "file (JSON) of API keys and their budgets")
	f.StringVar(&g.dir, "receipts", "", "folder that keeps receipts (default: in the state folder)")
	f.StringVar(&g.mode, "receipt-mode", string(gateway.Record), "bad receipts: record marks, require refuses")
	g.addPrice(f)
	f.StringVar(&g.scores, "scores", "", "file of proxies' records (default: in the state folder)")
	f.StringVar(&g.budgets, "budgets", "", "file of what keys have used (default: in the state folder)")
	f.StringVar(&g.admin, "admin-listen", "", "where operators ask (default: 9 ports above --listen)")
	f.StringVar(&g.token, "admin-token-file", "", "file with the operators' token (default: no operators)")
	f.StringSliceVar(&g.origins, "allow-origin", nil, "web page that may call, scheme://host[:port]")
	f.BoolVar(&g.strict, "strict", false, "refuse unknown fields of requests")
	f.Uint64Var(&g.maxBody, "max-body", api.MaxBody, "bytes that the JSON of a request may have")
}

// addPrice declares what receipts are compared with where no root contract says it.
func (g *gatewayFlags) addPrice(f *pflag.FlagSet) {
	f.Uint64Var(&g.price, "price-per-token", 0, "price in receipts in nanoTON, without a root contract")
	f.StringVar(&g.multipliers, "multipliers", "", "of prompt,cached,completion,reasoning (default: all 10000)")
}

// multiplied are the multipliers that were given.
func (g *gatewayFlags) multiplied() (m pricing.Multipliers, err error) {
	if g.multipliers == "" {
		return m, nil
	}
	words := strings.Split(g.multipliers, ",")
	into := []*int64{&m.Prompt, &m.Cached, &m.Completion, &m.Reasoning}
	if len(words) != len(into) {
		return m, cli.Usagef("multipliers: %q are not four numbers with commas", g.multipliers)
	}
	for i, word := range words {
		n, err := strconv.ParseUint(word, 10, 31)
		if err != nil {
			return m, cli.Usagef("multipliers: %q is not from 0 to 2147483647; 10000 is 1.0", word)
		}
		*into[i] = int64(n)
	}
	return m, nil
}

// rooted says that a root contract is followed.
func (g *gatewayFlags) rooted() bool { return g.chain.root != "" || g.chain.globalConfig != "" }

func isHostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	n, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil && n > 0 && host != ""
}

// onLoopback says that a HOST:PORT is of this machine alone.
func onLoopback(text string) bool {
	host, _, _ := net.SplitHostPort(text) // what is none has no host
	return isLoopback(host)
}

// flagRule is one rule of the flags: what is broken names the key, the rule, and the next step.
type flagRule struct {
	ok   bool
	text string
}

// rules are those of both verbs.
func (g *gatewayFlags) rules() []flagRule {
	out := []flagRule{
		{len(g.proxies) > 0 || g.rooted() && g.discover, "proxy: no proxy is named, and there is no root contract to find them in: name one with --proxy HOST:PORT, or the network with --global-config FILE and --root-contract ADDRESS"},
		{(g.chain.root == "") == (g.chain.globalConfig == ""), "root-contract, global-config: one is useless without the other: give both, or neither"},
		{g.router == "" || isHostPort(g.router), fmt.Sprintf("router: %q is not HOST:PORT: name the router's SOCKS5 port, as a rule 127.0.0.1:8116", g.router)},
		{!isHostPort(g.router) || onLoopback(g.router), fmt.Sprintf("router: %q is not on this machine: prompts reach it in the clear, and it is believed: run it here, as a rule on 127.0.0.1:8116", g.router)},
		{g.routerPolicy == "" || g.router != "", "router-policy: there is no external router: name it with --router, or leave this out"},
		{g.trust.policy == "" || len(g.trust.images) == 0, "policy, image: both say what is accepted: choose one"},
		{!g.unverified || g.test, "allow-unverified-proxies: only in test networks: add --test-network, or name what to accept with --image"},
		{!g.rooted() || g.chain.network != "", "network: say which network the root contract is on: mainnet, testnet, localnet or a global id"},
	}
	for _, p := range g.proxies {
		out = append(out, flagRule{isHostPort(p), fmt.Sprintf("proxy: %q is not HOST:PORT: proxies listen for clients on 11002 as a rule", p)})
	}
	if g.chain.network != "" {
		id, err := registry.ParseNetwork(g.chain.network)
		out = append(out, flagRule{err == nil, fmt.Sprintf("network: %v", err)},
			flagRule{err != nil || (id == registry.Mainnet) != g.test, fmt.Sprintf("test-network: %s is %s test network: %s", id,
				map[bool]string{true: "no", false: "a"}[id == registry.Mainnet], map[bool]string{true: "leave it out", false: "add --test-network"}[id == registry.Mainnet])})
	}
	return out
}

// serving are the rules of the flags that only serving takes.
func (g *gatewayFlags) serving() []flagRule {
	out := append(make([]flagRule, 0, 3+len(g.origins)),
		flagRule{g.maxBody > 0 && g.maxBody <= api.MaxBody, fmt.Sprintf("max-body: %d is not from 1 to %d, which is the most that a message between machines carries", g.maxBody, api.MaxBody)},
		flagRule{slices.Contains([]gateway.Mode{gateway.Record, gateway.Require}, gateway.Mode(g.mode)), fmt.Sprintf("receipt-mode: %q is none of %s, %s", g.mode, gateway.Record, gateway.Require)},
		flagRule{g.mode != string(gateway.Require) || g.price > 0 || g.rooted(), "receipt-mode: receipts that nobody can check cannot be required: say what a token costs with --price-per-token, or name the network with --global-config FILE and --root-contract ADDRESS"},
	)
	for _, o := range g.origins {
		out = append(out, flagRule{o != "*" && strings.Contains(o, "://"), fmt.Sprintf("allow-origin: %q is not scheme://host[:port]: name each page's origin as browsers send it", o)})
	}
	return out
}

// validate reports every broken rule at once.
func (g *gatewayFlags) validate(more ...flagRule) error {
	var problems []error
	for _, r := range slices.Concat(g.rules(), more) {
		if !r.ok {
			problems = append(problems, errors.New(r.text))
		}
	}
	if len(problems) > 0 {
		return cli.Tag(cli.KindUsage, fmt.Errorf("checking the gateway's configuration: %w", errors.Join(problems...)), "run \"cocoon gateway run --help\"")
	}
	return nil
}

// load fills flags from the file of --config, unless the command line or the environment gave them. Everything that is
// wrong with the file is reported at once.
func (g *gatewayFlags) load(f *pflag.FlagSet) error {
	if g.config == "" {
		return nil
	}
	data, err := cli.ReadFile(g.config, cli.MaxSmallFile)
	if err != nil {
		return cli.Tag(cli.KindUsage, fmt.Errorf("reading configuration: %w", err), "name the file with --config FILE")
	}
	if err := applyConfig(f, data); err != nil {
		return cli.Tag(cli.KindUsage, fmt.Errorf("reading configuration %s: %w", g.config, err), "keys are this command's flags, with _ for -; run \"cocoon gateway run --help\"")
	}
	return nil
}

// applyConfig sets the flags that a document names, by the rules of strict documents: no unknown key, none twice, nothing
// behind the end.
func applyConfig(f *pflag.FlagSet, data []byte) error {
	doc, err := jsonscan.Check(data)
	if err != nil {
		return err
	}
	if doc.Kind() != jsonscan.Object {
		return errors.New("it is no object")
	}
	var problems []error
	var known []string
	f.VisitAll(func(flag *pflag.Flag) { known = append(known, strings.ReplaceAll(flag.Name, "-", "_")) })
	for m := range doc.All() {
		key := string(m.Key)
		flag := f.Lookup(strings.ReplaceAll(key, "_", "-"))
		if flag == nil || strings.Contains(key, "-") || key == "config" {
			text := fmt.Sprintf("%s: no such key", key)
			if near := cli.Suggest(key, known); len(near) > 0 {
				text += "; did you mean " + strings.Join(near, " or ") + "?"
			}
			problems = append(problems, errors.New(text))
			continue
		}
		if err := setFlag(flag, m.Raw()); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", key, err))
		}
	}
	return errors.Join(problems...)
}

// setFlag gives a flag a JSON value of its type, unless it was given before.
func setFlag(flag *pflag.Flag, raw []byte) error {
	var one string
	var list []string
	switch kind := flag.Value.Type(); kind {
	case "stringSlice":
		if err := json.Unmarshal(raw, &list); err != nil {
			return errors.New("must be a list of strings")
		}
	case "bool":
		var v bool
		if err := json.Unmarshal(raw, &v); err != nil {
			return errors.New("must be true or false")
		}
		one = strconv.FormatBool(v)
	case "string", "duration":
		if err := json.Unmarshal(raw, &one); err != nil {
			return errors.New("must be a string")
		}
	default:
		if one = string(bytes.TrimSpace(raw)); strings.Trim(one, "0123456789") != "" {
			return errors.New("must be a number without a sign")
		}
	}
	if flag.Changed {
		return nil
	}
	if slice, ok := flag.Value.(pflag.SliceValue); ok {
		flag.Changed = true
		return slice.Replace(list)
	}
	if err := flag.Value.Set(one); err != nil {
		return fmt.Errorf("%q: %w", one, err)
	}
	flag.Changed = true
	return nil
}
