module example.com/server

require example.com/router v1.8.1
