-- Imports a finished output folder, in every edition. Made by penumbra install resolve.
-- Drag one layer of the folder into the Media Pool and select it; put the playhead on the clip the layers came from.
-- The free edition since 21.1 gives a script no files, no dialogs and no console: the folder is told by the selected
-- clip, its contents by layers.lua in it, and what goes wrong by the name of a bin, which may be deleted.

local project = resolve:GetProjectManager():GetCurrentProject()
local pool = project and project:GetMediaPool()

local function child(folder, name)
    for _, found in ipairs(folder:GetSubFolderList()) do
        if found:GetName() == name then return found end
    end
end

local function give_up(text)
    print("Penumbra: " .. text)
    if pool then
        local current, name = pool:GetCurrentFolder(), "Penumbra: " .. text
        if not child(pool:GetRootFolder(), name) then pool:AddSubFolder(pool:GetRootFolder(), name) end
        pool:SetCurrentFolder(current)
    end
end

-- layers.lua holds numbers and names; with nothing to call it can do nothing else.
local function read_table(path)
    local chunk = loadfile(path)
    if not chunk then return nil end
    if setfenv then setfenv(chunk, {}) end
    local fine, data = pcall(chunk)
    if fine and type(data) == "table" and data.penumbra_layers == 1 then return data end
end

-- FOLDER/car/car.[1001-1040].exr lies two up from what it names.
local function find_layers(clips)
    for _, clip in ipairs(clips or {}) do
        local path = clip:GetClipProperty("File Path")
        local folder = type(path) == "string" and string.match(path, "^(.*)[/\\][^/\\]+[/\\][^/\\]+$")
        local data = folder and read_table(folder .. "/layers.lua")
        if data then return folder, data end
    end
end

local function free_bin(shot)
    local root = pool:GetRootFolder()
    local ours = child(root, "Penumbra") or pool:AddSubFolder(root, "Penumbra")
    local name, number = shot, 1
    while child(ours, name) do
        number = number + 1
        name = shot .. " " .. number
    end
    return pool:AddSubFolder(ours, name)
end

-- A sequence takes the project's rate as it is imported; a layer's frames are the timeline's, one for one.
local function rate_of(timeline)
    return timeline and string.match(tostring(timeline:GetSetting("timelineFrameRate")), "^[%d.]+")
end

local function import_clip(folder, data, pattern, name, rate)
    local made = pool:ImportMedia({ { FilePath = folder .. "/" .. pattern, StartIndex = data.first, EndIndex = data.last } })
    if not made or #made ~= 1 then return nil end
    made[1]:SetName(name)
    if name ~= "background" then made[1]:SetClipProperty("Alpha mode", "Premultiplied") end
    if rate then made[1]:SetClipProperty("FPS", rate) end
    return made[1]
end

-- The number of the frame an item begins with: of a sequence by its file's name, of a movie from 1.
local function first_number(item)
    local media = item:GetMediaPoolItem()
    local path = media and media:GetClipProperty("File Path") or ""
    local number = string.match(path, "%[(%d+)%-%d+%][^/\\]*$")
    return (tonumber(number) or 1) + item:GetLeftOffset()
end

-- One track per place in the order, lowest first: the clean plate, then back to front.
local function rows_of(data)
    local rows = { {} }
    for _, span in ipairs(data.order) do
        table.insert(rows[1], { "background", span.first, span.last })
        for place, name in ipairs(span.objects) do
            rows[place + 1] = rows[place + 1] or {}
            table.insert(rows[place + 1], { name, span.first, span.last })
        end
    end
    return rows
end

-- Where the clip's picture lies on the timeline; a layer's is to lie there, too.
local FRAMING = {
    "ZoomX", "ZoomY", "Pan", "Tilt", "RotationAngle", "AnchorPointX", "AnchorPointY", "Pitch", "Yaw", "Distortion",
    "CropLeft", "CropRight", "CropTop", "CropBottom", "CropSoftness", "CropRetain", "FlipX", "FlipY", "Scaling",
}

local function frame_like(made, item)
    for _, name in ipairs(FRAMING) do
        local value = item:GetProperty(name)
        if value ~= nil then made:SetProperty(name, value) end
    end
end

local function fill_track(timeline, row, data, clips, item, number, first, last)
    local start = item:GetStart()
    timeline:AddTrack("video")
    local track = timeline:GetTrackCount("video")
    timeline:SetTrackName("video", track, #row == 1 and "Penumbra " .. row[1][1] or "Penumbra place " .. track)
    for _, entry in ipairs(row) do
        local from, to = math.max(entry[2], first), math.min(entry[3], last)
        if from <= to then
            local made = pool:AppendToTimeline({ {
                mediaPoolItem = clips[entry[1]], startFrame = from - data.first, endFrame = to - data.first + 1,
                mediaType = 1, trackIndex = track, recordFrame = start + from - number,
            } })
            if not made or #made ~= 1 then return false end
            pcall(frame_like, made[1], item)
        end
    end
    return true
end

-- What went wrong, or nil; then the timeline is as it was.
local function place(timeline, item, data, clips)
    local start, number, before = item:GetStart(), first_number(item), timeline:GetTrackCount("video")
    local first, last = math.max(data.first, number), math.min(data.last, number + item:GetEnd() - start - 1)
    if first > last then return "the clip under the playhead shows none of the layers' frames; they are in their bin" end
    for _, row in ipairs(rows_of(data)) do
        if not fill_track(timeline, row, data, clips, item, number, first, last) then
            for track = timeline:GetTrackCount("video"), before + 1, -1 do timeline:DeleteTrack("video", track) end
            return "Resolve did not place all layers; they are in their bin"
        end
    end
end

local function main()
    if not project then return print("Penumbra: no project is open.") end
    local folder, data = find_layers(pool:GetSelectedClips())
    if not folder then folder, data = find_layers(pool:GetCurrentFolder():GetClipList()) end
    if not folder then
        return give_up("select a layer of a finished folder in the Media Pool, and run Penumbra Import again")
    end
    local timeline = project:GetCurrentTimeline()
    local item = timeline and timeline:GetCurrentVideoItem()
    local before = pool:GetCurrentFolder()
    pool:SetCurrentFolder(free_bin(string.match(folder, "([^/\\]+)$")))
    local clips, missing = { background = import_clip(folder, data, data.background, "background", rate_of(timeline)) }, nil
    if not clips.background then missing = "background" end
    for name, pattern in pairs(data.layers) do
        clips[name] = import_clip(folder, data, pattern, name, rate_of(timeline))
        if not clips[name] then missing = name end
    end
    pool:SetCurrentFolder(before)
    if missing then return give_up("could not import " .. missing .. " from " .. folder) end
    if not item then return print("Penumbra: imported; no clip is under the playhead, so nothing was placed.") end
    local trouble = place(timeline, item, data, clips)
    if trouble then return give_up(trouble) end
    pcall(function() item:SetClipEnabled(false) end)
    print("Penumbra: the layers are on the tracks above.")
end

main()
