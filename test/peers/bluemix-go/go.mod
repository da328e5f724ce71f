module certstandby.example/peers/bluemix-go

go 1.18

require github.com/IBM-Cloud/bluemix-go v0.0.0-20220523145737-34645883de47

require golang.org/x/net v0.0.0-20220225172249-27dd8689420f // indirect
