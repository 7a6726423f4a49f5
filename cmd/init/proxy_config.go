package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"

	"cocoon/guest/proxy"
)

// proxyConfig is the file of `init proxy`: the reference's proxyRunner.config and keys of ours behind it.
type proxyConfig struct {
	Test, Testnet, CheckWorkers             bool
	WorkersPort, ClientPort, HTTPPort       int64
	Owner, RootContract, MachineKey, Access string
	Router, Repository, Commit              string
	WorkerImages, Models                    []string
	// KeyManager hands out the keys of prompt encryption; it is reached through Via, or by KeyPolicy of the router within.
	KeyManager, KeyPolicy, Via string
	KeyImages                  []string
	MaxTokens                  int64
	rootSection
	trust

	ignored any
}

// keys are the names in the file. Those whose work is done elsewhere, or not at all any more, are read and dropped.
func (c *proxyConfig) keys() map[string]any {
	return map[string]any{
		"is_test": &c.Test, "is_testnet": &c.Testnet, "workers_rpc_port": &c.WorkersPort, "client_rpc_port": &c.ClientPort,
		"http_port": &c.HTTPPort, "owner_address": &c.Owner, "root_contract_address": &c.RootContract,
		"machine_specific_private_key": &c.MachineKey, "check_worker_hashes": &c.CheckWorkers, "http_access_hash": &c.Access,
		"connect_to_proxy_via": &c.Via, "node_wallet_key": &c.ignored, "ton_config_filename": &c.ignored, "db_path": &c.ignored,
		"image_hash": &c.ignored,
		// ours
		"router": &c.Router, "worker_image_hashes": &c.WorkerImages, "model_names": &c.Models, "max_tokens": &c.MaxTokens,
		"repository": &c.Repository, "commit": &c.Commit, "root": &c.Root,
		"key_manager": &c.KeyManager, "key_manager_policy": &c.KeyPolicy, "key_manager_image_hashes": &c.KeyImages,
		trustKey: &c.Trusted,
	}
}

// parseProxyConfig reads the file.
func parseProxyConfig(data []byte) (*proxyConfig, []string, error) {
	c := &proxyConfig{CheckWorkers: true, KeyPolicy: defaultPolicy}
	warnings, err := readKeys("proxy", data, c.keys(), c.check)
	if err != nil {
		return nil, warnings, err
	}
	return c, warnings, nil
}

func (c *proxyConfig) check() error {
	port := func(n int64) bool { return n >= 1 && n <= 65535 }
	_, ownerErr := proxy.ParseAddress(c.Owner)
	rootErr := c.readRoot(c.RootContract)
	found := broken([]keyRule{
		{"client_rpc_port", port(c.ClientPort), "must be a port"},
		{"workers_rpc_port", port(c.WorkersPort) && c.WorkersPort != c.ClientPort, "must be a port, another than the clients'"},
		{"http_port", c.HTTPPort == 0 || port(c.HTTPPort), "must be a port, or 0 for none"},
		{"owner_address", ownerErr == nil, "must be an address"},
		{"check_worker_hashes", c.CheckWorkers || c.Test, "can be false in a test network only"},
		{"max_tokens", c.MaxTokens >= 0 && c.MaxTokens < 1<<31, "must be from 1 to 2147483647, or 0 for that"},
		// Accounts on a chain are not in this build; what cannot be kept is not promised.
		{"is_test", c.Test, "must be true: balances are counted in memory, payments on a chain are not in this build (prices and lists follow the section root all the same)"},
		c.without("worker_image_hashes", c.WorkerImages, c.CheckWorkers, "the images of workers", "check_worker_hashes"),
		c.without("model_names", c.Models, c.CheckWorkers, "the models of workers", "check_worker_hashes"),
		{"key_manager", c.KeyManager == "" || hostPort(c.KeyManager), "must be host:port, or empty for no prompt encryption"},
		{"key_manager", c.KeyManager == "" || c.Router != "" || c.Via != "", "needs router or connect_to_proxy_via, by which it is reached"},
	})
	_, imageErr := c.images()
	_, managerErr := imagesOf("key_manager_image_hashes", c.KeyImages)
	_, keyErr := c.machineKey()
	found = append(found, broken(c.rules(c.Test, c.Router == "" || c.Via != "", &c.rootSection))...)
	_, trustErr := c.roots()
	return errors.Join(append(found, imageErr, managerErr, keyErr, rootErr, trustErr)...)
}

// images are the workers' images, written in hex or in base64.
func (c *proxyConfig) images() (map[[32]byte]bool, error) {
	return imagesOf("worker_image_hashes", c.WorkerImages)
}

func imagesOf(name string, list []string) (map[[32]byte]bool, error) {
	out := make(map[[32]byte]bool)
	for _, text := range list {
		raw, err := hashOf(text)
		if err != nil || raw == [32]byte{} {
			return nil, fmt.Errorf("%s: %q is no hash in hex or base64", name, text)
		}
		out[raw] = true
	}
	return out, nil
}

func hostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	n, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil && host != "" && n > 0
}

// machineKey is the seed of the key that signs payments; zeros mean that none was given.
func (c *proxyConfig) machineKey() ([32]byte, error) {
	if c.MachineKey == "" {
		return [32]byte{}, nil
	}
	raw, err := hashOf(c.MachineKey)
	if err != nil {
		return raw, errors.New("machine_specific_private_key is not 32 bytes in base64 or hex")
	}
	return raw, nil
}

func hashOf(text string) (out [32]byte, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		raw, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil || len(raw) != len(out) {
		return out, errors.New("not 32 bytes")
	}
	return [32]byte(raw), nil
}
