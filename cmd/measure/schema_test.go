package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"cocoon/cmd/internal/cli"
	"cocoon/host/probe"
	"cocoon/measure/launch/smbios"
)

// schemaOf compiles a verb's checked-in schema.
func schemaOf(t *testing.T, verb string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	for id, path := range map[string]string{
		verb + ".json":            filepath.Join("schema", "cocoon.measure."+verb+".1.json"),
		"cocoon.policy.verdict/1": filepath.Join("..", "..", "measure", "policy", "schema", "cocoon.policy.verdict.1.json"),
	} {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(id, doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile(verb + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEveryVerbsJSONIsItsSchemas runs each verb on inputs that fill its optional members.
func TestEveryVerbsJSONIsItsSchemas(t *testing.T) {
	t.Parallel()
	image, other, spec := buildImage(t, imageParts{}), buildImage(t, imageParts{initrd: "more"}), specDir(t, "{}")
	log, quote := vector(t, "attestation/ccel_data.dat.gz"), vector(t, "attestation/cos-113-tdx-quote.dat")
	tested := make(map[string]bool)
	for _, args := range [][]string{
		{"predict", image, "--spec", spec},
		{"predict", image},
		{"explain", image, "--spec", spec},
		{"check", "--manifest", image, "--quote", quote, "--ccel", log, "--spec", spec},
		{"diff", image, other},
		{"diff", log, log},
		{"replay", "--ccel", log, "--quote", quote},
		{"image", filepath.Join(image, "image.efi")},
		{"quote", quote},
		{"quote", quote, "--collateral", vector(t, "attestation/cos113_collateral.json"), "--at", "2025-06-20"},
		{"quote", vector(t, "attestation/sgx_quote"), "--collateral", vector(t, "attestation/sgx_quote_collateral.json"), "--at", "2025-06-20"},
		{"quote", vector(t, "attestation/tdx_quote_outdated")},
		{"quote", vector(t, "attestation/crafted_signed_size_10.bin"), "--collateral", vector(t, "attestation/cos113_collateral.json")},
		{"quote", newPlatform(t).certificate(t), "--root", newPlatform(t).root},
		{"check", "--manifest", image, "--quote", quote, "--collateral", vector(t, "attestation/cos113_collateral.json"), "--at", "2025-06-20"},
		{"spec", spec},
		{"shape"},
		{"selftest"},
	} {
		tested[args[0]] = true
		if _, err := probe.Find(t.Context(), ""); errors.Is(err, probe.ErrNoQEMU) && strings.Contains("predict explain check", args[0]) {
			t.Logf("%s not run: %v", args[0], err)
			continue
		}
		t.Run(strings.Join(args[:1], " "), func(t *testing.T) {
			t.Parallel()
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(measure(t, append(args, "-o", "json")...).stdout))
			if err != nil {
				t.Fatal(err)
			}
			if err := schemaOf(t, args[0]).Validate(doc); err != nil {
				t.Error(err)
			}
		})
	}
	tested["firmware"], tested["profile"] = true, true // need a firmware file: TestFirmwareFile
	tested["publish"], tested["audit"] = true, true    // need a network: TestAnImageIsPublishedFromItsManifest
	for _, v := range verbs() {
		if !tested[v.name] {
			t.Errorf("the output of %s is not checked", v.name)
		}
	}
}

func TestFirmwareFile(t *testing.T) {
	t.Parallel()
	path := os.Getenv("COCOON_FIRMWARE")
	if path == "" {
		t.Skip("COCOON_FIRMWARE does not name a firmware file")
	}
	r := measure(t, "firmware", path, "-o", "json").want(t, 0)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(r.stdout))
	if err != nil {
		t.Fatal(err)
	}
	if err := schemaOf(t, "firmware").Validate(doc); err != nil {
		t.Error(err)
	}
	measure(t, "firmware", path).want(t, 0, "MRTD (single pass)", "TD_HOB")
	var derived any
	measure(t, "profile", path, "--name", "mine").want(t, 0, "without --tpm-log").decode(t, &derived)
	type0, err := smbios.Type0("maker", "7.7", "01/02/2026")
	if err != nil {
		t.Fatal(err)
	}
	dmi := filepath.Join(t.TempDir(), "DMI")
	write(t, dmi, type0)
	measure(t, "profile", path, "--dmi", dmi).want(t, 0, `"version": "7.7"`)
	measure(t, "profile", path, "--dmi", path).want(t, cli.ExitUsage)
	measure(t, "profile", path, "--tpm-log", path).want(t, cli.ExitUsage)
	measure(t, "profile", path, "--like", "none").want(t, cli.ExitUsage, "is none of")
}

func TestSchemasRefuseUnknownMembers(t *testing.T) {
	t.Parallel()
	var doc map[string]any
	if err := json.Unmarshal([]byte(measure(t, "selftest", "-o", "json").stdout), &doc); err != nil {
		t.Fatal(err)
	}
	doc["extra"] = true
	if err := schemaOf(t, "selftest").Validate(doc); err == nil {
		t.Error("a document with an unknown member is accepted")
	}
}
