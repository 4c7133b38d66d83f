package site_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"lpbuildd/builders/site"
)

// Whoever adds a setting to Site must say whether it may have secrets; this test
// takes each for a URL with a password.
func TestSecretsForgetsNoSetting(t *testing.T) {
	var s site.Site
	var names, passwords []string
	value := reflect.ValueOf(&s).Elem()
	for i := range value.NumField() {
		field := value.Type().Field(i)
		if field.Type.Kind() != reflect.String {
			t.Fatalf("%s is a %s: this test does not know how to put a URL there, nor perhaps Secrets", field.Name, field.Type)
		}
		password := fmt.Sprintf("of-%s", field.Name)
		value.Field(i).SetString("http://user:" + password + "@host.test/")
		names, passwords = append(names, field.Name), append(passwords, password)
	}
	found := s.Secrets()
	for i, password := range passwords {
		if !slices.Contains(found, password) {
			t.Errorf("the password in %s is not among the secrets %q", names[i], found)
		}
	}
	if found := (site.Site{NTPHost: "ntp.test", TemplatesArchive: "t.tar.gz", AptProxy: "http://proxy.test"}).Secrets(); len(found) > 0 {
		t.Errorf("without passwords: %q", found)
	}
}
