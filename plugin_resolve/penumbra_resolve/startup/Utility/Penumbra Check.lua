-- Tells whether this Resolve runs Python scripts at all. Made by penumbra install resolve.
-- It writes its answer to the console, and, where the console is mute, as the name of a bin, which may be deleted.

local function answer()
    local product = resolve:GetProductName()
    local version = resolve:GetVersion()
    local major, minor = version[1], version[2]
    local studio = string.find(product, "Studio", 1, true) ~= nil
    local name = string.format("%s %d.%d", product, major, minor)
    if studio or major < 21 or (major == 21 and minor < 1) then
        return "Penumbra: " .. name .. " runs Python scripts. No Penumbra Layers in the menu means no Python was found"
    end
    return "Penumbra: " .. name .. " runs no Python scripts. Use the panel and Penumbra Import"
end

local text = answer()
print(text)
local project = resolve:GetProjectManager():GetCurrentProject()
if project then
    local pool = project:GetMediaPool()
    local root, known = pool:GetRootFolder(), false
    for _, folder in ipairs(root:GetSubFolderList()) do
        known = known or folder:GetName() == text
    end
    if not known then
        local current = pool:GetCurrentFolder()
        pool:AddSubFolder(root, text)
        pool:SetCurrentFolder(current)
    end
end
