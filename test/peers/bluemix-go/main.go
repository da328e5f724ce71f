// Plays IBM's own client of Certificate Manager: one request a line of standard input, one answer a line of standard output, both JSON.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	bluemix "github.com/IBM-Cloud/bluemix-go"
	"github.com/IBM-Cloud/bluemix-go/api/certificatemanager"
	"github.com/IBM-Cloud/bluemix-go/bmxerror"
	"github.com/IBM-Cloud/bluemix-go/models"
	"github.com/IBM-Cloud/bluemix-go/session"
)

// One call of the client. Which member of it counts depends on the operation.
type call struct {
	Operation string
	Crn       string
	Import    models.CertificateImportData
	Reimport  models.CertificateReimportData
	Update    models.CertificateMetadataUpdate
	Order     models.CertificateOrderData
	Renew     models.CertificateRenewData
	Policy    models.OrderPolicy
}

// What came of it: a value as the client understood it, or what the client says went wrong.
type answer struct {
	Value  any    `json:"value,omitempty"`
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

func run(api certificatemanager.Certificate, c call) (any, error) {
	switch c.Operation {
	case "import":
		return api.ImportCertificate(c.Crn, c.Import)
	case "list":
		return api.ListCertificates(c.Crn)
	case "metadata":
		return api.GetMetaData(c.Crn)
	case "download":
		return api.GetCertData(c.Crn)
	case "reimport":
		return api.ReimportCertificate(c.Crn, c.Reimport)
	case "update":
		return nil, api.UpdateCertificateMetaData(c.Crn, c.Update)
	case "delete":
		return nil, api.DeleteCertificate(c.Crn)
	case "order":
		return api.OrderCertificate(c.Crn, c.Order)
	case "renew":
		return api.RenewCertificate(c.Crn, c.Renew)
	case "policy":
		return api.UpdateOrderPolicy(c.Crn, c.Policy)
	}
	return nil, fmt.Errorf("no such operation: %s", c.Operation)
}

func main() {
	log.SetOutput(os.Stderr)
	url, retries, wait := os.Getenv("INSTANCE_URL"), 0, time.Duration(0)
	configured, err := session.New(&bluemix.Config{
		BluemixAPIKey:         os.Getenv("INSTANCE_API_KEY"),
		Endpoint:              &url,
		TokenProviderEndpoint: &url,
		MaxRetries:            &retries,
		RetryDelay:            &wait,
	})
	if err != nil {
		log.Fatal(err)
	}
	service, err := certificatemanager.New(configured)
	if err != nil {
		log.Fatal(err)
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for in.More() {
		var c call
		if err := in.Decode(&c); err != nil {
			log.Fatal(err)
		}
		value, err := run(service.Certificate(), c)
		said := answer{Value: value}
		if err != nil {
			said = answer{Error: err.Error()}
			if failure, ok := err.(bmxerror.RequestFailure); ok {
				said.Status = failure.StatusCode()
			}
		}
		if err := out.Encode(said); err != nil {
			log.Fatal(err)
		}
	}
}
