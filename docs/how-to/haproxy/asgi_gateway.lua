-- Asks asgi_gateway (forward-auth, kind: haproxy) about each request. For HAProxy 2.6 and newer.
--
--   http-request lua.asgi_gateway http://127.0.0.1:8000/gateway-check x-user,x-roles
--   http-request deny unless { var(txn.asgi_gateway) -m str granted }
--
-- The second line is needed: HAProxy goes on with a request whose Lua action failed.

local DROPPED = {
    ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true, ["keep-alive"] = true,
    ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true,
    ["x-forwarded-for"] = true, ["x-forwarded-host"] = true, ["x-forwarded-method"] = true,
    ["x-forwarded-proto"] = true, ["x-forwarded-uri"] = true,
}
local UNAVAILABLE = 503
local REASONS = { [401] = "Unauthorized", [403] = "Forbidden", [503] = "Service Unavailable" }

-- Returns the values of a header as a list that begins at 1; HAProxy's begins at 0.
local function values_of(found)
    local values = {}
    if found then
        local index = found[0] and 0 or 1
        while found[index] do
            values[#values + 1] = found[index]
            index = index + 1
        end
    end
    return values
end

local function headers_of_check(txn)
    local headers = {}
    for name, found in pairs(txn.http:req_get_headers()) do
        local lower = string.lower(name)
        if not DROPPED[lower] then
            headers[lower] = values_of(found)
        end
    end
    local scheme = "http"
    if txn.sf:ssl_fc() == "1" then
        scheme = "https"
    end
    headers["x-forwarded-method"] = { txn.sf:method() }
    headers["x-forwarded-uri"] = { txn.sf:pathq() }
    headers["x-forwarded-proto"] = { scheme }
    headers["x-forwarded-for"] = { txn.sf:src() }
    local hosts = values_of(txn.http:req_get_headers()["host"])
    if #hosts > 0 then
        headers["x-forwarded-host"] = hosts
    end
    return headers
end

-- Ends the request with the gateway's answer, or with 503 if there is none.
local function refuse(txn, status, answered, body)
    local headers = {}
    for name, found in pairs(answered or {}) do
        if not DROPPED[string.lower(name)] then
            headers[name] = values_of(found)
        end
    end
    txn:done(txn:reply({ status = status, reason = REASONS[status], headers = headers, body = body or "" }))
end

local function check(txn, url, names)
    local answer = core.httpclient():get({ url = url, headers = headers_of_check(txn) })
    if answer.status == 200 then
        for name in string.gmatch(names, "[^,]+") do
            local values = values_of(answer.headers[string.lower(name)])
            txn.http:req_del_header(name)
            for _, value in ipairs(values) do
                txn.http:req_add_header(name, value)
            end
        end
        txn:set_priv({
            ["set-cookie"] = values_of(answer.headers["set-cookie"]),
            ["www-authenticate"] = values_of(answer.headers["www-authenticate"]),
        })
        txn:set_var("txn.asgi_gateway", "granted")
    elseif answer.status == 401 or answer.status == 403 or answer.status == 503 then
        refuse(txn, answer.status, answer.headers, answer.body)
    else
        refuse(txn, UNAVAILABLE)
    end
end

-- Adds the cookie of a new session and the last token of a login to the response.
local function respond(txn)
    for name, values in pairs(txn:get_priv() or {}) do
        for _, value in ipairs(values) do
            txn.http:res_add_header(name, value)
        end
    end
end

core.register_action("asgi_gateway", { "http-req" }, check, 2)
core.register_action("asgi_gateway_response", { "http-res" }, respond, 0)
