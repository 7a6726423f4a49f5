package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"cocoon/contracts/pricing"
	"cocoon/guest/worker"
	"cocoon/guest/worker/engine"
)

// Values of keys that the file leaves out (protocol.md sections 7 and 13).
const (
	defaultEngine      = engine.LlamaCPP
	defaultPolicy      = "tdx"
	defaultCoefficient = 1000
	defaultPrice       = 20
)

// workerConfig is the file of `init worker`: the reference's workerRunner.config and keys of ours behind it.
type workerConfig struct {
	Test, CheckProxies       bool
	Owner, Model, Via        string
	Coefficient, HTTPPort    int64
	MaxActive, Connections   int64
	ForwardTo, Access        string
	Machine, RootContract    string
	Engine, EngineSocket     string
	Proxies, ProxyImages     []string
	Router, Policy, StateDir string
	CostFields               bool
	Price                    int64
	Multipliers              pricing.Multipliers
	rootSection
	trust

	ignored any
}

// keys are the names in the file. Those whose work is done elsewhere, or not at all any more, are read and dropped.
func (c *workerConfig) keys() map[string]any {
	return map[string]any{
		"is_test": &c.Test, "check_proxy_hashes": &c.CheckProxies, "owner_address": &c.Owner, "model_name": &c.Model,
		"connect_to_proxy_via": &c.Via, "coefficient": &c.Coefficient, "http_port": &c.HTTPPort, "max_active_requests": &c.MaxActive,
		"proxy_connections": &c.Connections, "forward_requests_to": &c.ForwardTo, "http_access_hash": &c.Access,
		"machine_description_json": &c.Machine, "root_contract_address": &c.RootContract,
		"is_testnet": &c.ignored, "node_wallet_key": &c.ignored, "ton_config_filename": &c.ignored, "image_hash": &c.ignored,
		"change_model_script": &c.ignored,
		// ours
		"engine": &c.Engine, "engine_socket": &c.EngineSocket, "proxies": &c.Proxies, "proxy_image_hashes": &c.ProxyImages,
		"root": &c.Root, "router": &c.Router, "policy": &c.Policy, "state_dir": &c.StateDir, "cost_fields": &c.CostFields, "price_per_token": &c.Price,
		"prompt_tokens_price_multiplier": &c.Multipliers.Prompt, "cached_tokens_price_multiplier": &c.Multipliers.Cached,
		"completion_tokens_price_multiplier": &c.Multipliers.Completion, "reasoning_tokens_price_multiplier": &c.Multipliers.Reasoning,
		trustKey: &c.Trusted,
	}
}

// parseWorkerConfig reads the file.
func parseWorkerConfig(data []byte) (*workerConfig, []string, error) {
	c := &workerConfig{
		Policy: defaultPolicy, Coefficient: defaultCoefficient, MaxActive: worker.DefaultMaxActive, Connections: 1,
		CheckProxies: true, CostFields: true, Price: defaultPrice, Multipliers: worker.Plain(0).Multipliers,
	}
	warnings, err := readKeys("worker", data, c.keys(), c.check)
	if err != nil {
		return nil, warnings, err
	}
	return c, warnings, nil
}

func (c *workerConfig) check() error {
	const maxPrice = 1 << 40
	inRange := func(n int64) bool { return n >= 0 && n < 1<<31 }
	m := c.Multipliers
	rootErr := c.readRoot(c.RootContract)
	found := broken([]keyRule{
		{"coefficient", c.Coefficient >= 0 && c.Coefficient < 1_000_000_000, "must be from 0 to 999999999"},
		{"http_port", c.HTTPPort >= 0 && c.HTTPPort <= 65535, "must be a port, or 0 for none"},
		{"max_active_requests", c.MaxActive >= 1 && c.MaxActive <= 1<<16, "must be from 1 to 65536"},
		{"proxy_connections", c.Connections >= 1 && c.Connections <= 64, "must be from 1 to 64"},
		{"proxies", c.Root != nil || len(c.Proxies) > 0, "must list host:port of at least one proxy, or there be a section root"},
		{"router", (c.Router == "") != (c.Via == ""), "or connect_to_proxy_via is needed, and not both"},
		{"check_proxy_hashes", c.CheckProxies || c.Test, "can be false in a test network only"},
		c.without("proxy_image_hashes", c.ProxyImages, c.CheckProxies, "the images of proxies", "check_proxy_hashes"),
		{"price_per_token", c.Price >= 0 && c.Price <= maxPrice, "is out of range"},
		{"multipliers", inRange(m.Prompt) && inRange(m.Cached) && inRange(m.Completion) && inRange(m.Reasoning), "must not be negative or above 2^31-1"},
	})
	found = append(found, broken(c.rules(c.Test, c.Via != "", &c.rootSection))...)
	_, err := c.images()
	_, trustErr := c.roots()
	return errors.Join(append(found, err, rootErr, trustErr)...)
}

// images are the proxies' images, written in hex or in base64.
func (c *workerConfig) images() (map[[32]byte]bool, error) {
	out := make(map[[32]byte]bool)
	for _, text := range c.ProxyImages {
		raw, err := hex.DecodeString(text)
		if err != nil {
			raw, err = base64.StdEncoding.DecodeString(text)
		}
		if err != nil || len(raw) != 32 || [32]byte(raw) == [32]byte{} {
			return nil, fmt.Errorf("proxy_image_hashes: %q is no hash in hex or base64", text)
		}
		out[[32]byte(raw)] = true
	}
	return out, nil
}
