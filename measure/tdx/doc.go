// Package tdx holds what a TD's evidence consists of: measurement registers and the rule that extends them, the
// bodies of quotes, and the COCOON image hash computed from them (measure.md section 9.1).
//
// It owns byte layouts, not judgement: nothing here decides whether evidence is acceptable. It trusts no input;
// every parser is bounded and returns errors. All values are plain data, safe to copy and to use concurrently.
package tdx
